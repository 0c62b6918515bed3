"""Sounds of a raw data set that become records, and those that are decoded again."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.data import raw_set
from tests.data.read_back import row_of
from towers.data.audio import spectrogram_writer
from towers.errors import UserError


class TestSound:
    def test_records_belong_to_their_content(self, store):
        """The loudest band of each content is that of its own tone: higher tones, higher bands."""
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


class TestLostSounds:
    """The limit on sounds that are set aside, and the report about them."""

    @pytest.fixture
    def with_sounds(self, raw):
        """Writes contents with these paths of sounds in place of the raw data's."""

        def write(*audio):
            contents = [{"content_id": f"s{place}", "kind": "track", "audio": each} for place, each in enumerate(audio)]
            raw_set.write_part(raw, "contents", raw_set.content_table(contents))

        return write

    def test_most_of_them_missing_is_refused(self, raw, tmp_path, make_builder, with_sounds):
        with_sounds("Audio/A1.FLAC", "audio\\a4.flac", "s3://bucket/a2.wav", "audio/a2.wav")
        with pytest.raises(UserError) as raised:
            make_builder(raw, tmp_path / "stores").build()
        listed = tmp_path / "stores/rejected/sounds.parquet"
        assert str(raised.value) == (
            "contents/: 3 of 4 sounds cannot be used, over data.max_rejected_sounds_fraction=0.5: no such file (3); "
            f"such as s0: no such file: {raw}/Audio/A1.FLAC; there is audio/a1.flac; all are in {listed}; mend the "
            "sounds, or raise the limit (1: any number may be missing)"
        )
        reasons = pq.read_table(listed)["reason"].to_pylist()
        assert reasons[1].endswith("; there is audio/a4.flac, with / for \\")
        assert not (tmp_path / "stores/current").exists()

    def test_the_limit_can_be_raised(self, raw, tmp_path, make_builder, with_sounds):
        with_sounds("nowhere.flac", "not/there.flac")
        builder = make_builder(raw, tmp_path / "stores", max_rejected_sounds_fraction=1.0)
        store, _ = builder.build()
        assert (store.manifest["counts"]["sounds"], store.manifest["counts"]["rejected_sounds"]) == (0, 2)
        assert builder.losses.lines() == [
            f"sounds set aside: 2 of 2: no such file (2); such as s0: no such file: {raw}/nowhere.flac"
        ]

    @pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
    def test_no_share(self, raw, tmp_path, make_builder, share):
        with pytest.raises(UserError, match=r"^data\.max_rejected_sounds_fraction="):
            make_builder(raw, tmp_path / "stores", max_rejected_sounds_fraction=share)

    def test_altered_sounds_are_told_also_when_nothing_is_to_be_done(self, raw, tmp_path, make_builder, with_sounds):
        one = raw_set.tone(440, 1.0)
        soundfile.write(raw / "audio/both.wav", np.stack([one, -one], axis=1), raw_set.RATE_HZ)
        soundfile.write(raw / "audio/one.wav", -one, raw_set.RATE_HZ)
        soundfile.write(raw / "audio/cut.wav", raw_set.tone(440, 2.0), raw_set.RATE_HZ)
        (raw / "audio/cut.wav").write_bytes((raw / "audio/cut.wav").read_bytes()[:-16_000])
        with_sounds("audio/both.wav", "audio/one.wav", "audio/cut.wav")
        store, _ = make_builder(raw, tmp_path / "stores").build()
        again = make_builder(raw, tmp_path / "stores")
        assert not again.build()[1]
        (line,) = again.losses.lines()
        assert line.startswith(
            "sounds altered: 2 of 3: channels cancel each other when mixed to mono (1), cut short (1)"
        )
        assert store.manifest["counts"]["altered_sounds"] == 2
        altered = pq.read_table(store.folder / "rejected/altered_sounds.parquet").to_pylist()
        assert [row["reason"].split(":")[1] for row in altered] == [" the loudest is taken", " 1.0 of 2.0 s decode"]
        one_alone, both = (store.spectrograms.records[store.spectrograms.row_of[name]] for name in ("s1", "s0"))
        loud = one_alone > -8  # below it is the rounding of 16 bits
        np.testing.assert_allclose(both[loud], one_alone[loud], atol=0.1)

    def test_absolute_paths_inside(self, raw, tmp_path, make_builder, with_sounds):
        (tmp_path / "link").symlink_to(raw, target_is_directory=True)
        with_sounds(f"{raw}/audio/a1.flac", f"{tmp_path}/link/audio/a1.flac", "audio/a1.flac")
        records = make_builder(tmp_path / "link", tmp_path / "stores").build()[0].spectrograms.records
        assert len(records) == 3
        np.testing.assert_array_equal(records[0], records[2])
        np.testing.assert_array_equal(records[1], records[2])

    def test_a_decoder_that_comes_later_gives_them_another_chance(
        self, raw, tmp_path, make_builder, with_sounds, monkeypatch
    ):
        pytest.importorskip("av", reason="pip install 'towers-rec[m4a]'")
        from tests.features.test_sound import encoded
        from towers.features import sound_file

        encoded(raw / "audio/new.m4a", "aac")
        with_sounds("audio/new.m4a", "audio/a1.flac")
        with monkeypatch.context() as patch:
            for module in (sound_file, spectrogram_writer):
                patch.setattr(module, "has_ffmpeg", lambda: False)
            builder = make_builder(raw, tmp_path / "stores")
            builder.build()
            (line,) = builder.losses.lines()
            assert "does not decode, .m4a (1)" in line
            assert line.endswith(".m4a takes FFmpeg's decoders: pip install 'towers-rec[m4a]'")
        builder = make_builder(raw, tmp_path / "stores")
        store, is_new = builder.build()
        assert is_new
        assert (store.manifest["counts"]["sounds"], builder.losses.lines()) == (2, [])


class TestNewSounds:
    """A set of spectrograms reuses all that it can of the one before."""

    @pytest.fixture
    def decoded(self, monkeypatch):
        """Returns names of the files that were decoded since."""
        from towers.data.audio import decoder

        names, decode = [], decoder.read_crops

        def counting(path, *rest):
            names.append(path.name)
            return decode(path, *rest)

        monkeypatch.setattr(decoder, "read_crops", counting)
        return names

    @pytest.fixture
    def grown(self, raw, tmp_path, make_builder, decoded):
        """The root of a store; after it was made, a sound came that is before the others."""
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
        assert store.manifest["spectrograms"] == scratch.manifest["spectrograms"]
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
        monkeypatch.setattr("towers.data.audio.spectrogram_writer.FRONT_END", 99)
        make_builder(raw, grown).build()
        assert len(decoded) == 6
