"""`towers prepare` on the command line: killed, shared between machines, and given invalid sound."""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.command_line import kill_when, ok, refused
from tests.data import raw_set
from tests.data.raw_set import tone

pytestmark = pytest.mark.unhooked
PREPARE = (
    "prepare", "data=parquet", "data.root=raw", "data.num_workers=1", "features.spectrogram.record_s=1.0",
    "data.max_unlisted_fraction=1",
)  # fmt: skip
SPLIT = ("data.split.validation_start=2026-01-25", "data.split.test_start=2026-02-04")
MANY = 1_040
"""Number of files: three parts, the last of them short."""


def with_sounds(folder: Path, audio: list[str]) -> Path:
    """Writes the hand-written raw data with these contents alone; sound `number` has the id `s0000`."""
    raw = raw_set.write_raw(folder / "raw")
    contents = [{"content_id": f"s{number:04}", "kind": "track", "audio": name} for number, name in enumerate(audio)]
    raw_set.write_part(raw, "contents", raw_set.content_table(contents))
    return raw


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with many short sounds as raw data, and the store that an undisturbed run makes of it."""
    folder = tmp_path_factory.mktemp("many")
    raw = with_sounds(folder, [f"audio/{number}.wav" for number in range(MANY)])
    for number in range(MANY):
        soundfile.write(raw / f"audio/{number}.wav", tone(200 + number, 0.2), raw_set.RATE_HZ)
    printed = ok(folder, *PREPARE, *SPLIT, "paths.stores=whole")
    assert f"decoded {MANY:,} files: 208 s of sound in" in printed
    assert re.search(r"s of sound/s, [\d,.]+ core-seconds\)", printed)
    return folder, folder / "whole/parquet/current"


def same_store(one: Path, other: Path) -> bool:
    """Returns whether both stores have the same fingerprint and the same spectrograms."""
    records = [
        next((store.resolve().parent / "spectrograms").glob("*/records.npy")).read_bytes() for store in (one, other)
    ]
    return one.resolve().name == other.resolve().name and records[0] == records[1]


def test_a_kill_loses_no_finished_part(many: tuple[Path, Path]) -> None:
    folder, whole = many
    stores = folder / "killed/parquet"
    parts = "spectrograms/parts-*/*/reasons.parquet"
    prepare = (*PREPARE, *SPLIT, "paths.stores=killed")

    def finished() -> int:
        return len([path for path in stores.glob(parts) if not path.parent.name.startswith(".")])

    assert kill_when(folder, lambda: finished() >= 1, *prepare)
    kept = finished()
    assert 1 <= kept <= 2
    assert not (stores / "current").exists()
    printed = ok(folder, *prepare)
    assert f"decoded {MANY - 512 * kept:,} files" in printed
    assert same_store(stores / "current", whole)
    assert not list(stores.rglob("*.partial"))
    assert not list(stores.glob("spectrograms/parts-*"))


def test_shards_share_the_work_and_the_store_is_the_same(many: tuple[Path, Path]) -> None:
    folder, whole = many
    prepare = (*PREPARE, *SPLIT, "paths.stores=sharded")
    printed = ok(folder, *prepare, "data.shard=1/2")
    assert f"decoded {MANY - 512:,} files" in printed  # the first part and the last
    assert printed.splitlines()[-1] == (
        "shard 1/2 is decoded; once all 2 are, run this command without data.shard for the store"
    )
    assert not (folder / "sharded/parquet/current").exists()
    assert "decoded 512 files" in ok(folder, *prepare, "data.shard=2/2")
    assert "decoded" not in ok(folder, *prepare)
    assert same_store(folder / "sharded/parquet/current", whole)


def test_what_no_shard_can_be_gets_one_line(many: tuple[Path, Path]) -> None:
    folder, _ = many
    for shard in ("0/2", "3/2", "3", "half", "1/2/3"):
        line = refused(folder, *PREPARE, *SPLIT, "paths.stores=refused", f"data.shard={shard}")
        assert f"data.shard={shard}: must be NUMBER/COUNT, such as 3/16" in line
    (folder / "pairs.txt").write_text("".join(f"{user} {content}\n" for user in range(9) for content in range(9)))
    line = refused(folder, "prepare", "data=pairs", "data.root=pairs.txt", "data.shard=1/2")
    assert "data.shard=1/2: no content of pairs.txt names a sound; leave it out" in line


def write_bad(raw: Path) -> dict[str, str | None]:
    """Writes odd sounds; returns for each name a part of the reason, None for those that can be used."""
    audio, rate_hz = raw / "audio", 16_000
    rng = np.random.default_rng(0)
    soundfile.write(audio / "silence.flac", np.zeros(rate_hz), rate_hz)
    soundfile.write(audio / "clipping.wav", np.sign(tone(440, 2.0, rate_hz)), rate_hz)
    soundfile.write(audio / "not a number.wav", np.full(rate_hz, np.nan), rate_hz, subtype="FLOAT")
    soundfile.write(audio / "one sample.wav", np.ones(1), rate_hz)
    soundfile.write(audio / "hour.flac", np.tile((32_767 * tone(440, 1.0, 8_000)).astype(np.int16), 3_600), 8_000)
    soundfile.write(audio / "telephone.wav", tone(440, 1.5, 8_000), 8_000)
    soundfile.write(audio / "studio.wav", rng.uniform(-1, 1, (96_000, 8)), 96_000, subtype="PCM_24")
    (audio / "text.mp3").write_text("la la la\n" * 1_000)
    soundfile.write(audio / "truncated.ogg", tone(440, 20.0, rate_hz), rate_hz)
    whole = (audio / "truncated.ogg").read_bytes()
    (audio / "truncated.ogg").write_bytes(whole[:3_000])
    soundfile.write(audio / "cut.ogg", tone(440, 20.0, rate_hz), rate_hz)
    (audio / "cut.ogg").write_bytes(whole[: len(whole) * 4 // 5])
    soundfile.write(raw.parent / "private.wav", tone(440, 1.0, rate_hz), rate_hz)
    (audio / "link.wav").symlink_to(raw.parent / "private.wav")
    (audio / "loop.wav").symlink_to(audio / "loop.wav")
    (audio / "folder.wav").mkdir()
    (audio / "empty.mp3").touch()
    scripts = [
        "Подмосковные вечера.ogg",
        "上を向いて歩こう.flac",
        "🎺🥁.wav",
        "شمس.ogg",
        "e\u0301 ü 'q\" $x;#.flac",
        "-rf.wav",
    ]
    for name in scripts:
        soundfile.write(audio / name, tone(440, 1.0, rate_hz), rate_hz)
    usable = ["clipping.wav", "hour.flac", "telephone.wav", "studio.wav", "cut.ogg", *scripts]
    return {
        "silence.flac": "silent",
        "not a number.wav": "not finite",
        "one sample.wav": "too short",
        "text.mp3": "does not decode",
        "truncated.ogg": r"does not decode|too short",
        "link.wav": "leaves the data set's folder",
        "loop.wav": r"is no path|leaves|does not decode",
        "folder.wav": "is no file",
        "empty.mp3": "does not decode",
        "missing.wav": "no such file",
        **dict.fromkeys(usable, None),
    }


@pytest.mark.parametrize("num_crops", [1, 4])
def test_a_folder_of_all_that_can_be_wrong_with_sound(tmp_path: Path, num_crops: int) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/audio").mkdir()
    expected = write_bad(tmp_path / "raw")
    contents = [{"content_id": name, "kind": "track", "audio": f"audio/{name}"} for name in expected]
    raw_set.write_events(tmp_path / "raw", raw_set.EVENTS)
    raw_set.write_part(tmp_path / "raw", "contents", raw_set.content_table(contents))
    crops = (f"features.spectrogram.num_crops={num_crops}", "features.spectrogram.record_s=2.0")
    printed = ok(tmp_path, *PREPARE, *SPLIT, *crops)
    store = tmp_path / "stores/parquet/current"
    rejected = {row["content_id"]: row for row in pq.read_table(store / "rejected/sounds.parquet").to_pylist()}
    assert set(rejected) == {name for name, reason in expected.items() if reason is not None}
    for name, row in rejected.items():
        assert re.search(str(expected[name]), row["reason"]), row
        assert "\n" not in row["reason"]
    told = next(line for line in printed.splitlines() if line.startswith("sounds set aside: "))
    assert told.startswith(f"sounds set aside: {len(rejected)} of {len(expected)}: ")
    (folder,) = (tmp_path / "stores/parquet/spectrograms").glob("*/")
    records = np.load(folder / "records.npy")
    assert pq.read_table(folder / "rows.parquet")["content_id"].to_pylist() == [
        name for name, reason in expected.items() if reason is None
    ]
    assert np.isfinite(records).all()
    assert records.shape[1:] == (64, 100)
    assert (records.max(axis=(1, 2)) > 0).all()  # there is something to hear in each
    decoded = re.search(r"decoded ([\d,]+) files: ([\d,]+) s of sound", printed)
    assert decoded is not None
    assert float(decoded[2].replace(",", "")) <= 2 * len(records)  # of the hour, too, the record alone
