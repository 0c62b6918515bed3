"""The nightly cycle on the command line: nights in a row, a refusal, a late night, a second start, a roll back."""

from pathlib import Path

import pytest

from tests.command_line import ok, towers
from towers.errors import ExitCode
from towers.lifecycle.lock import held
from towers.lifecycle.replay import Replay
from towers.manifest import read_json

pytestmark = [pytest.mark.unhooked, pytest.mark.usefixtures("no_page")]
NIGHTS = 3
NIGHT = (
    "retrain", "experiment=demo", "data.name=night", "features.spectrogram.record_s=1.0",
    "features.user_columns=[country,age_band]",  # the demo's, as its user tower's graph is traced already
    "datamodule.max_length=30", "datamodule.max_tokens=1024", "user_tower.num_layers=1", "audio_encoder=none",
    "placement=none", "logger=csv", "trainer.max_epochs=2", "trainer.progress=false", "evaluation.min_users=2",
    "export.variants=[]", "night_split.days=12", "canaries.server=false",
)  # fmt: skip
# Forty listeners and two epochs say nothing of quality.
LENIENT = tuple(
    f"gate.rules.{rule}=null"
    for rule in ("main_metric", "kinds", "segments", "cold_content", "coverage", "popularity_bias", "too_good", "refit",
                 "champion_reproduces", "newest_day", "beats_popularity", "beats_yesterday", "beats_own_most_played",
                 "drift", "canaries", "data_profile")
)  # fmt: skip


class Nights:
    """A folder in which nights are run, one after the other."""

    def __init__(self, folder: Path, world: Path):
        self.folder = folder
        self.replay = Replay(world, folder / "replay", NIGHTS)

    def command(self, night: int, *more: str) -> tuple[str, ...]:
        self.replay.advance(night)
        return (*NIGHT, f"data.root={self.replay.raw}", *more)

    @property
    def served(self) -> str:
        return (self.folder / "exports" / "current").resolve().name

    @property
    def records(self) -> dict[str, dict]:
        found = [read_json(path) for path in (self.folder / "nights" / "night").glob("[!.]*.json")]
        return {record["data_end"]: record for record in sorted(found, key=lambda record: record["data_end"])}


@pytest.fixture(scope="module")
def nights(demo: tuple[Path, str], tmp_path_factory) -> Nights:
    return Nights(tmp_path_factory.mktemp("nights"), demo[0] / "worlds" / "world-0")


def test_a_refused_night_changes_nothing(nights):
    """What was published is not made again; a second start says who runs, and ends well."""
    begun = ok(nights.folder, *nights.command(0, *LENIENT))
    first = nights.served
    assert f"published exports/{first}: current points to it" in begun
    manifest = read_json(nights.folder / "exports" / first / "manifest.json")
    assert manifest["has_seen_test"]
    assert manifest["window"]["end"].startswith(str(nights.replay.nights[0]))
    assert f"nothing to publish: {first}, which serves, was made of this data" in ok(
        nights.folder, *nights.command(0, *LENIENT)
    )

    done = towers(nights.folder, *nights.command(1, "gate.rules.too_good.max_gain=0.000001"))
    assert done.returncode == ExitCode.REFUSED, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("towers: tonight's version (demo/")
    assert f"current stays at {first}" in done.stderr
    assert "refused        main_metric: " in done.stdout
    assert nights.served == first

    with held(nights.folder / "stores" / "night" / ".retrain.lock", "another night", False, print):
        told = ok(nights.folder, *nights.command(1, *LENIENT))
    assert "held for another night by " in told
    listed = ok(nights.folder, *NIGHT, "action=history")
    assert [line.split()[1] for line in listed.splitlines() if first in line] == ["champion"]
    assert "refused by main_metric" in " ".join(listed.split())

    (champion,) = [record for record in nights.records.values() if record["version"] == first]
    twin = nights.folder / "runs" / champion["judged"]
    twin.rename(twin.with_name("elsewhere"))
    done = towers(nights.folder, *nights.command(2, *LENIENT))
    twin.with_name("elsewhere").rename(twin)
    assert (done.returncode, nights.served) == (ExitCode.CALLER, first)
    assert f"the run by which it is judged (runs/{champion['judged']}) is gone" in done.stderr


@pytest.mark.slow
def test_nights_in_a_row(nights):
    """Each goes on from the one before, publishes, and can be put back; one that comes late leads nobody."""
    ok(nights.folder, *nights.command(0, *LENIENT))
    first = nights.served
    second = ok(nights.folder, *nights.command(1, *LENIENT))
    assert f"current moves from {first} to it" in second
    published = nights.served
    record = list(nights.records.values())[-1]
    assert record["version"] == published
    assert [remark["event"] for remark in record["remarks"]][-1] == "published"

    told = ok(nights.folder, *NIGHT, "action=rollback", "why=wrong covers")
    assert f"{published} is marked bad (wrong covers)" in told
    assert nights.served == first
    done = towers(nights.folder, *nights.command(1, *LENIENT))
    assert done.returncode == ExitCode.REFUSED
    assert "was marked bad (wrong covers)" in done.stderr

    third = ok(nights.folder, *nights.command(3, *LENIENT))
    assert f"current moves from {first} to it" in third
    newest = nights.served
    late = ok(nights.folder, *nights.command(2, *LENIENT))
    assert f"comes late: its data ends before that of {newest}" in late
    assert nights.served == newest


def test_a_force_needs_its_reason_and_is_kept(nights):
    done = towers(nights.folder, *nights.command(3, "gate.force=true"))
    assert done.returncode == ExitCode.CALLER
    assert "gate.force=true: say why" in done.stderr


def test_an_action_that_there_is_not(nights):
    done = towers(nights.folder, *NIGHT, "action=nihgt")
    assert done.returncode == ExitCode.CALLER
    assert "action=nihgt: must be one of night, rollback, history, backtest" in done.stderr
