"""Nights of the demo's world on the command line, small enough for a test."""

from pathlib import Path

from towers.lifecycle.replay import Replay
from towers.manifest import read_json

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
