"""Which sounds of a raw data set become records, and which are decoded again."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.data import raw_set
from tests.data.read_back import row_of


class TestSound:
    def test_records_belong_to_their_content(self, store):
        """Every content's loudest band is its own tone's: higher tones, higher bands."""
        loudest = {}
        for content_id in ("e1", "a1", "a2", "a4"):
            record = store.spectrograms.records[store.audio_rows[row_of(store, content_id)]]
            assert record.shape == (16, 100)
            loudest[content_id] = int(record.astype(np.float32).mean(axis=1).argmax())
        assert loudest["e1"] < loudest["a1"] < loudest["a2"] < loudest["a4"]

    def test_contents_without_usable_sound(self, store):
        for content_id in ("a3", "a5", "u9", "art-x", "p1"):
            assert store.audio_rows[row_of(store, content_id)] == -1

    def test_a_broken_file_is_quarantined_with_its_reason(self, store):
        folder = store.folder.parent / "spectrograms" / store.manifest["spectrograms"]
        (row,) = pq.read_table(folder / "rejected.parquet").to_pylist()
        assert row["content_id"] == "a5"
        assert row["audio"].endswith("audio/a5.flac")
        assert "does not decode" in row["reason"]
        assert store.manifest["counts"]["rejected_sounds"] == 1

    def test_a_missing_file_is_quarantined(self, raw, tmp_path, make_builder):
        (raw / "audio/a1.flac").unlink()
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.manifest["counts"]["rejected_sounds"] == 2
        assert store.audio_rows[row_of(store, "a1")] == -1
        assert store.audio_rows[row_of(store, "a2")] >= 0

    def test_a_part_file_without_the_column_does_not_silence_the_others(self, raw, tmp_path, make_builder):
        raw_set.write_part(raw, "contents", pa.table({"content_id": ["new"], "kind": ["track"]}), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.manifest["counts"]["sounds"] == 4


class TestNewSounds:
    """A set of spectrograms takes from the one before what it can."""

    @pytest.fixture
    def decoded(self, monkeypatch):
        """Names of the files that were decoded since."""
        from towers.data import spectrogram_parts

        names, decode = [], spectrogram_parts.read_crops

        def counting(path, *rest):
            names.append(path.name)
            return decode(path, *rest)

        monkeypatch.setattr(spectrogram_parts, "read_crops", counting)
        return names

    @pytest.fixture
    def grown(self, raw, tmp_path, make_builder, decoded):
        """The root of a store that was made, after which a sound came that stands before the others."""
        root = tmp_path / "stores"
        make_builder(raw, root).build()
        assert sorted(decoded) == ["a1.flac", "a2.wav", "a4.flac", "a5.flac", "e1.flac"]
        decoded.clear()
        soundfile.write(raw / "audio/new.flac", raw_set.tone(600, 0.7), raw_set.RATE_HZ)
        new = {"content_id": "new", "kind": "track", "audio": "audio/new.flac"}
        raw_set.write_part(raw, "contents", raw_set.content_table([new, *raw_set.CONTENTS]))
        return root

    def test_one_more_is_decoded_alone(self, raw, tmp_path, make_builder, grown, decoded):
        store = make_builder(raw, grown).build()[0]
        assert decoded == ["new.flac"]
        scratch = make_builder(raw, tmp_path / "scratch").build()[0]
        assert len(decoded) == 7
        np.testing.assert_array_equal(store.spectrograms.records, scratch.spectrograms.records)
        assert store.spectrograms.row_of == scratch.spectrograms.row_of
        assert store.fingerprint == scratch.fingerprint
        both = [pq.read_table(one.folder / "rejected/sounds.parquet") for one in (store, scratch)]
        assert both[0].equals(both[1])

    def test_a_changed_one_is_decoded_again(self, raw, make_builder, grown, decoded):
        soundfile.write(raw / "audio/a1.flac", raw_set.tone(900, 0.7), raw_set.RATE_HZ)
        make_builder(raw, grown).build()
        assert sorted(decoded) == ["a1.flac", "new.flac"]

    def test_other_settings_take_nothing(self, raw, make_builder, grown, decoded, feature_settings):
        other = replace(feature_settings.spectrogram, n_mels=8)
        make_builder(raw, grown, features=replace(feature_settings, spectrogram=other)).build()
        assert len(decoded) == 6

    def test_another_front_end_takes_nothing(self, raw, make_builder, grown, decoded, monkeypatch):
        monkeypatch.setattr("towers.data.spectrogram_writer.FRONT_END", 99)
        make_builder(raw, grown).build()
        assert len(decoded) == 6
