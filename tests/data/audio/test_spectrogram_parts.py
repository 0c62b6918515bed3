"""Spectrograms made in parts: parts of a killed run are used, and shards give the same as one run."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.data.raw_set import tone
from towers.data.audio import decoder, spectrogram_writer
from towers.data.audio.spectrogram_parts import Decoding, Shard
from towers.data.audio.spectrogram_writer import SpectrogramSet
from towers.data.audio.spectrograms import FRONT, RECORDS, REJECTED, ROWS, Spectrograms
from towers.errors import UserError
from towers.features.settings import SpectrogramSettings
from towers.manifest import digest_of, digest_of_file

SETTINGS = SpectrogramSettings(sample_rate=8_000, n_fft=256, hop_length=80, n_mels=16, record_s=0.2)
NAMES = [f"{number:02}.wav" for number in range(20)]
SILENT, MISSING = "07.wav", "13.wav"


def there(names):
    """Returns the names that have a file."""
    return [name for name in names if name != MISSING]


def quiet(done, total, remark):
    pass


@pytest.fixture
def sounds(tmp_path):
    """Twenty files, of which one is silent and one is not there."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        if name != MISSING:
            soundfile.write(folder / name, (name != SILENT) * tone(200 + 50 * number, 0.3), 8_000)
    return folder


@pytest.fixture
def make_set(tmp_path, sounds, monkeypatch):
    """Makes a set of the sounds in parts of three, below a folder."""
    monkeypatch.setattr(spectrogram_writer, "FILES_PER_PART", 3)

    def make(name="sets", names=NAMES, settings=SETTINGS):
        return SpectrogramSet(tmp_path / name, sounds, [f"id {each}" for each in names], names, settings)

    return make


@pytest.fixture
def decoded(monkeypatch):
    """Returns names of the files that were decoded since."""
    names, decode = [], decoder.read_crops

    def counting(path, settings):
        names.append(path.name)
        return decode(path, settings)

    monkeypatch.setattr(decoder, "read_crops", counting)
    return names


class Died(Exception):
    pass


def die_at(number):
    def on_progress(done, total, remark):
        if done == number:
            raise Died

    return on_progress


def contents_of(folder):
    """Returns the bytes of every file of a set."""
    return {name: (folder / name).read_bytes() for name in (RECORDS, ROWS, REJECTED, FRONT)}


class TestParts:
    def test_records_and_rejections_are_in_the_order_of_the_files(self, make_set):
        made = make_set()
        made.make(2, quiet)
        spectrograms = Spectrograms.open(made.target)
        usable = [name for name in NAMES if name not in (SILENT, MISSING)]
        assert list(spectrograms.row_of) == [f"id {name}" for name in usable]
        assert spectrograms.records.shape == (18, 16, 20)
        assert spectrograms.records.dtype == np.float16
        for row, name in enumerate(usable):
            alone = make_set("alone", [name])
            alone.make(1, quiet)
            np.testing.assert_array_equal(Spectrograms.open(alone.target).records, spectrograms.records[[row]])
        rejected = pq.read_table(made.target / REJECTED).to_pylist()
        assert [row["content_id"] for row in rejected] == [f"id {SILENT}", f"id {MISSING}"]
        assert rejected[0]["reason"] == "silent"

    @pytest.mark.parametrize("files_per_part", [1, 7, 20, 512])
    def test_their_size_changes_nothing(self, make_set, monkeypatch, files_per_part):
        first, second = make_set("first"), make_set("second")
        first.make(2, quiet)
        monkeypatch.setattr(spectrogram_writer, "FILES_PER_PART", files_per_part)
        second.make(1, quiet)
        assert first.target.name == second.target.name
        assert contents_of(first.target) == contents_of(second.target)

    def test_nothing_of_them_stays(self, make_set):
        made = make_set()
        made.make(2, quiet)
        assert {path.name for path in made.target.parent.iterdir()} == {made.target.name, "digests.json"}

    def test_nothing_usable(self, make_set):
        made = make_set(names=[SILENT, MISSING])
        made.make(2, quiet)
        assert Spectrograms.open(made.target).records.shape == (0, 16, 20)

    def test_the_name_is_what_it_was_before_there_were_parts_and_crops(self, make_set, sounds):
        """Stores made before have to be found."""
        files = {path.name: digest_of_file(path) for path in sounds.iterdir()}
        named = [[f"id {name}", name] for name in NAMES]
        settings = {"sample_rate": 8_000, "n_fft": 256, "hop_length": 80, "n_mels": 16, "record_s": 0.2}
        assert make_set().target.name == digest_of([files, named, {"format": 2, "settings": settings}])[:16]


class TestResume:
    @pytest.mark.parametrize("died_at", [1, 3, 4, 11, 20])
    def test_only_unfinished_parts_are_decoded_again(self, make_set, decoded, died_at):
        with pytest.raises(Died):
            make_set().make(1, die_at(died_at))
        decoded.clear()
        done = []
        again = make_set()
        again.make(1, lambda *progress: done.append(progress[:2]))
        finished = (died_at - 1) // 3 * 3  # a part is finished when the first file of the next one comes
        assert sorted(decoded) == there(NAMES[finished:])
        assert done[0] == (finished + 1, 20)
        assert done[-1] == (20, 20)
        scratch = make_set("scratch")
        scratch.make(1, quiet)
        assert contents_of(again.target) == contents_of(scratch.target)
        assert {path.name for path in again.target.parent.iterdir()} == {again.target.name, "digests.json"}

    def test_a_file_that_changed_meanwhile_is_decoded_again_with_its_part(self, make_set, decoded, sounds):
        with pytest.raises(Died):
            make_set().make(1, die_at(10))
        soundfile.write(sounds / "04.wav", tone(3_000, 0.3), 8_000)
        decoded.clear()
        make_set().make(1, quiet)
        assert sorted(decoded) == there([*NAMES[3:6], *NAMES[9:]])

    def test_parts_of_other_settings_are_not_taken(self, make_set, decoded):
        with pytest.raises(Died):
            make_set().make(1, die_at(10))
        decoded.clear()
        make_set(settings=SpectrogramSettings(sample_rate=8_000, record_s=0.2)).make(1, quiet)
        assert sorted(decoded) == there(NAMES)


class TestShards:
    @pytest.mark.parametrize("count", [1, 2, 3, 16])
    def test_together_they_make_the_same_as_one_run(self, make_set, decoded, count):
        for number in range(count, 0, -1):
            make_set().make_shard(Shard(number=number, count=count), 1, quiet)
        assert sorted(decoded) == there(NAMES)  # each by one shard
        decoded.clear()
        sharded, whole = make_set(), make_set("whole")
        sharded.make(1, quiet)
        assert not decoded
        whole.make(1, quiet)
        assert sharded.target.name == whole.target.name
        assert contents_of(sharded.target) == contents_of(whole.target)
        assert {path.name for path in sharded.target.parent.iterdir()} == {sharded.target.name, "digests.json"}

    def test_what_no_shard_has_made_the_last_run_makes(self, make_set, decoded):
        make_set().make_shard(Shard(number=2, count=2), 1, quiet)
        assert sorted(decoded) == there([*NAMES[3:6], *NAMES[9:12], *NAMES[15:18]])
        decoded.clear()
        make_set().make(1, quiet)
        assert sorted(decoded) == there([*NAMES[:3], *NAMES[6:9], *NAMES[12:15], *NAMES[18:]])

    def test_reads_no_file_of_another_shard(self, make_set, tmp_path):
        make_set().make_shard(Shard(number=3, count=7), 1, quiet)
        (memory,) = tmp_path.glob("sets/parts-*/digests-3-of-7.json")
        assert sorted(json.loads(memory.read_text())) == NAMES[6:9]
        assert not (tmp_path / "sets/digests.json").exists()

    def test_files_that_are_known_are_left_to_the_last_run(self, make_set, decoded, sounds):
        made = make_set()
        made.make(1, quiet)
        soundfile.write(sounds / "new.wav", tone(3_000, 0.3), 8_000)
        decoded.clear()
        for number in (1, 2):
            make_set(names=[*NAMES, "new.wav"]).make_shard(Shard(number=number, count=2), 1, quiet)
        assert decoded == ["new.wav"]

    def test_a_shard_may_be_killed_too(self, make_set, decoded):
        with pytest.raises(Died):
            make_set().make_shard(Shard(number=1, count=2), 1, die_at(8))
        decoded.clear()
        make_set().make_shard(Shard(number=1, count=2), 1, quiet)
        assert sorted(decoded) == there([*NAMES[12:15], *NAMES[18:]])

    @pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/2", "a/b", "-1/3", "1/0", "1.5/2", "1/2/3", "", "²/3"])
    def test_no_shard(self, text):
        with pytest.raises(UserError, match=r"^data\.shard=.*such as 3/16"):
            Shard.parse(text)

    def test_says_what_it_is(self):
        assert str(Shard.parse("3/16")) == "3/16"


class TestDecoding:
    def test_counts_what_was_decoded(self, make_set):
        decoding = make_set().make(2, quiet)
        assert decoding.files == 19
        assert decoding.sound_s == pytest.approx(18 * 0.2)
        assert decoding.wall_s > 0
        assert decoding.core_s > 0

    def test_what_is_known_is_not_counted(self, make_set, sounds):
        make_set().make(2, quiet)
        soundfile.write(sounds / "new.wav", tone(3_000, 0.3), 8_000)
        decoding = make_set(names=["new.wav", *NAMES]).make(2, quiet)
        assert decoding.files == 1  # the new one alone
        assert make_set(names=["new.wav", *NAMES]).make(2, quiet).files == 0

    def test_says_it(self):
        decoding = Decoding(files=1_200, sound_s=12_000.0, wall_s=10.0, core_s=18.5)
        expected = "decoded 1,200 files: 12,000 s of sound in 10.0 s (1,200 s of sound/s, 18.5 core-seconds)"
        assert str(decoding) == expected
