"""The plan of a backtest: the cycle's configuration for past nights, and the vectors that are compared after each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from omegaconf import DictConfig, open_dict

from towers.assembly.evaluation import EvaluationPlan
from towers.assembly.night import NightPlan, night_plan
from towers.assembly.run import load_run
from towers.config.composing import seen_by
from towers.config.instantiate import value
from towers.data.sources.tables import literal
from towers.data.store import CURRENT, Store
from towers.data.tomorrow import tomorrow_of
from towers.errors import UserError
from towers.evaluation.night_vectors import NightOnStore, NightVectors, judged_tomorrow
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.result import Evaluation
from towers.lifecycle.backtest import FROZEN, SUBJECTS, TWIN
from towers.lifecycle.record import Record
from towers.lifecycle.replay import Replay
from towers.retrieval.export import Export

VECTORS = "vectors"
"""Folder with the vectors of all nights, within the backtest's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestPlan:
    """Plan of `towers retrain action=backtest`.

    Args:
        folder: folder of the backtest's own data, runs and versions.
        replay: lays out the raw data as it was on each night.
        night: plan of the cycle in this folder.
        horizon: days after a night on which its version is judged.
        anew_every: number of nights after which a network is trained from scratch for comparison; 0: never.
    """

    folder: Path
    replay: Replay
    night: NightPlan
    horizon: float
    anew_every: int

    @property
    def anew_on(self) -> list[int]:
        """Nights on which a network is trained from scratch; not the first, whose version is trained from scratch
        anyway."""
        nights = range(1, len(self.replay.nights))
        return [night for night in nights if self.anew_every and night % self.anew_every == 0]

    def anew_config(self, stores: Path) -> DictConfig:
        """Returns the configuration of a training from scratch, up to the last event of the newest store in a
        folder."""
        config = seen_by("train", self.night.config)
        with open_dict(config):
            config.train_until = "end"
            config.trainer.patience = None  # nothing is validated
            config.paths.stores = str(stores)
        return config

    def stores_of(self, night: int, fingerprint: str) -> Path:
        """Makes a folder of stores in which the data of a night is the newest, although later data exists."""
        folder, data = self.folder / "then" / str(self.replay.nights[night]), self.night.data
        whole = (self.night.folders.stores / data).resolve()
        (folder / data).mkdir(parents=True, exist_ok=True)
        for name, target in ((fingerprint, fingerprint), (CURRENT, fingerprint), ("spectrograms", "spectrograms")):
            link = folder / data / name
            if not link.is_symlink():
                link.symlink_to(whole / target, target_is_directory=True)
        return folder

    def keeps(self, night: int, subject: str) -> Path:
        """Returns the path of the file with a subject's vectors after a night."""
        return self.folder / VECTORS / f"{self.replay.nights[night]}-{subject}.parquet"

    def keep_run(self, night: int, subject: str, run: Path, stores: Path) -> None:
        """Writes the vectors that a run gives on the newest store below a folder."""
        if not (path := self.keeps(night, subject)).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            NightVectors.of(load_run(run, stores, is_refreshed=True)).write(path)

    def beside(self, record: Record) -> dict[str, Path]:
        """Returns the runs that are judged beside the served version: the night's twin, and the run of the first
        version.

        Args:
            record: record of the night.
        """
        runs, first = self.night.folders.runs, self.night.ledger.records()[-1]
        named = {TWIN: record.judged, FROZEN: first.refit}
        return {subject: runs / run for subject, run in named.items() if run is not None}

    def keep_served(self, night: int, subject: str) -> None:
        """Writes the vectors of the served version, as its export has them."""
        served = self.night.folders.served()
        if served is not None and not (path := self.keeps(night, subject)).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            export = Export(served)
            ids = {"content_ids": _column(export.content_ids), "user_ids": _column(export.user_ids)}
            vectors = {"contents": export.vectors, "users": export.user_vectors}
            NightVectors(**ids, **vectors, provenance=export.provenance).write(path)

    def judged(self, night: int, plan: EvaluationPlan, store: Store) -> Mapping[str, Evaluation]:
        """Evaluates all subjects on the days after a night; empty where the store has no events after it.

        Args:
            night: number of the night.
            plan: plan of evaluations.
            store: store that contains the days after it.
        """
        end_us = self.replay.end_us(night)
        if store.end_us is None or store.end_us < end_us:
            return {}
        protocol = plan.protocol(tomorrow_of(store, end_us, self.horizon))
        return {name: found for name in SUBJECTS if (found := self._judged(night, name, protocol)) is not None}

    def _judged(self, night: int, subject: str, protocol: EvaluationProtocol) -> Evaluation | None:
        path = self.keeps(night, subject)
        if not path.exists():
            return None
        kept = NightOnStore(kept=NightVectors.read(path), store=protocol.store)
        return judged_tomorrow(protocol, subject, kept)


def backtest_plan(config: DictConfig) -> BacktestPlan:
    """Turns the configuration into a plan.

    Raises:
        UserError: a key does not fit, or the data has fewer days.
    """
    folder, days = Path(value(config, "backtest", str)), value(config, "days", int)
    horizon, anew_every = value(config, "horizon", float), value(config, "anew_every", int)
    if not horizon > 0:
        raise UserError(f"horizon={horizon}: must be above 0")
    if anew_every < 0:
        raise UserError(f"anew_every={anew_every}: must be 0 (never) or more")
    root = value(config, "data.root", str | None)
    if root is None:
        raise UserError("data.root: a backtest replays raw data; give its folder")
    replay = Replay(literal(root), folder / "data", days)
    own = config.copy()
    with open_dict(own):
        own.data.root = str(replay.raw)
        own.data.source.root = str(replay.raw)
        for name in ("stores", "runs", "exports", "evaluations", "nights"):
            own.paths[name] = str(folder / name)
        # The served version of every night is evaluated once more when all nights are over.
        own.keep.versions = own.keep.nights = days + 3
        own.sink = {"_target_": "towers.publishing.sinks.sink.NoSink"}  # readers use the engine
    return BacktestPlan(
        folder=folder, replay=replay, night=night_plan(own), horizon=horizon, anew_every=anew_every
    )  # all its folders are its own, so that nothing served is touched


def _column(ids: Any) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([str(each) for each in ids[:]], pa.string())])
