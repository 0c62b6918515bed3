"""The plan of a night, and the state of a night in progress."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from towers.assembly.choosing import serving_run
from towers.assembly.cleaning import folders_of
from towers.assembly.judged import judged_run
from towers.assembly.run import load_run
from towers.assembly.training import training_plan
from towers.assembly.versions import state_of, versions_of, wandb_project
from towers.assembly.warm_start import check_carried
from towers.config.composing import config_of_run, seen_by
from towers.config.instantiate import instantiate, value
from towers.config.signature import network_digest, signature_of
from towers.data.profiling.files import verdict_at, verdict_beside
from towers.data.profiling.verdict import Verdict as DataVerdict
from towers.data.store import Store
from towers.errors import DataLacks, UserError
from towers.evaluation.result import metric_key
from towers.lifecycle.dry_run import Headroom, Tried
from towers.lifecycle.gate.evidence import Evidence, Lacking, Reached
from towers.lifecycle.gate.gate import Rule
from towers.lifecycle.gate.verdict import Force, Verdict, force_of
from towers.lifecycle.inventory import Folders
from towers.lifecycle.ledger import Ledger, night_name
from towers.lifecycle.pruning import KeptNights
from towers.lifecycle.record import Record
from towers.lifecycle.served_check import CanarySettings
from towers.lifecycle.watching.night_state import NightState
from towers.lifecycle.watching.wandb_names import group_of
from towers.lifecycle.watching.watcher import Watcher
from towers.manifest import read_json
from towers.publishing.describing import space_told, window_of
from towers.publishing.sinks.sink import Sink
from towers.retrieval.files import MANIFEST

LOCK = ".retrain.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """Settings of a training that continues from the night before.

    Args:
        share: epochs of the judged twin, as a share of those of a training from scratch.
        refit_share: epochs of the refit, as a share of the same.
        optimizer: what becomes of the earlier optimiser's moments: reset or carry.

    Raises:
        UserError: a share is not above 0.
    """

    share: float
    refit_share: float
    optimizer: str

    def __post_init__(self) -> None:
        for name in ("share", "refit_share"):
            if not getattr(self, name) > 0:
                raise UserError(f"warm.{name}={getattr(self, name)}: must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPlan:
    """Plan of `towers retrain`.

    Args:
        config: configuration of the command; each step sees its part.
        data: name of the data set.
        folders: folders of all that is written.
        ledger: ledger of the data set's nights.
        lock: lock file, held by one night at a time.
        waits: whether to wait while another night holds it.
        sink: engine that readers query.
        rules: rules of the gate, by name.
        force: who publishes in spite of the gate, and why; null: the gate decides.
        canaries: settings of the requests that try a version in the server.
        headroom: free disk space that is required.
        watchers: watchers of the night, by name.
        keep: numbers of past versions and nights that stay.
        warm: settings of a training that continues from the night before.
        main_metric: key of the metric that decides.
    """

    config: DictConfig
    data: str
    folders: Folders
    ledger: Ledger
    lock: Path
    waits: bool
    sink: Sink
    rules: Mapping[str, Rule | None]
    force: Force | None
    canaries: CanarySettings
    headroom: Headroom
    watchers: Mapping[str, Watcher]
    keep: KeptNights
    warm: Warm
    main_metric: str

    def tried(self) -> Tried:
        """Returns what the dry run checks."""
        return Tried(
            folders=self.folders,
            nights=self.ledger.folder.parent,
            data=self.data,
            name=value(self.config, "name", str),
            source=instantiate(self.config.data.source, "data.source"),
            sink=self.sink,
            watchers=self.watchers,
        )

    def state(self) -> NightState:
        """Returns the state that watchers are given at the beginning of the night."""
        return state_of(self.config, self.ledger)

    def night(self, store: Store, champion: Record | None) -> "Night":
        """Begins tonight, or continues it where its record exists.

        Args:
            store: store as it was prepared.
            champion: record of the served version; null where none serves.
        """
        end = window_of(store).get("end")
        train = seen_by("train", self.config)
        name = night_name(end, store.fingerprint, signature_of(train, store.fingerprint))
        started = datetime.now(UTC).isoformat(timespec="seconds")
        record = self.ledger.of_night(name) or Record(
            night=name, data_end=end, started=started, told=False, store=store.fingerprint
        )
        is_late = champion is not None and _is_before(end, champion.data_end)
        rival = self._last_before(end) if is_late else champion
        twin = None if rival is None else self._twin_of(rival)
        return Night(plan=self, store=store, record=record, champion=champion, rival=rival, twin=twin, is_late=is_late)

    def _last_before(self, end: str | None) -> Record | None:
        """Returns the newest version that has served, is not marked bad, and whose data ends no later; null without
        one."""
        served = (record for record in self.ledger.records() if record.serving_s and record.bar is None)
        return next((record for record in served if not _is_before(end, record.data_end)), None)

    def _twin_of(self, record: Record) -> Path | None:
        """Returns the run by which a version is judged; for a version that no night made, that of the run it was
        exported from. Null where it is gone."""
        if record.judged is not None:
            folder = self.folders.runs / record.judged
            return folder if folder.exists() else None
        if record != self.ledger.champion():
            return None  # the run is known for the served version alone
        config = self.config.copy()
        with open_dict(config):
            config.checkpoint = None
        run = serving_run(config)
        if run is None:
            return None
        try:
            judged = judged_run(load_run(run, self.folders.stores), self.folders.stores)
        except (DataLacks, UserError) as error:
            print(f"{record.version}: {error}")
            return None
        return judged.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night in progress.

    Args:
        plan: plan of the command.
        store: store as it was prepared.
        record: record of the night so far.
        champion: record of the served version; null on the first night.
        rival: record of the version that tonight's is compared with: the champion, except for a late night; null: none.
        twin: run by which the rival is judged, and whose weights tonight's training starts from; null: gone, or no
            rival.
        is_late: whether the served version has seen later events, so that nothing is published.
    """

    plan: NightPlan
    store: Store
    record: Record
    champion: Record | None
    rival: Record | None
    twin: Path | None
    is_late: bool

    @property
    def is_done(self) -> bool:
        """Returns whether its version serves or has served: its record then keeps the version that it was
        compared with, and its twin, so that it can be put back."""
        return bool(self.record.serving_s)

    def check_comparable(self) -> None:
        """Raises an error before anything is trained for a night that the gate would refuse in any case.

        Raises:
            UserError: the run by which the rival is judged is gone, and the gate is not overruled.
        """
        if self.rival is None or self.twin is not None or self.plan.force is not None:
            return
        run = f" ({self.plan.folders.runs / self.rival.judged})" if self.rival.judged is not None else ""
        raise UserError(
            f"{self.rival.version}: the run by which it is judged{run} is gone, so that nothing can be compared with "
            "it; put another version back (towers retrain action=rollback), or publish without a comparison "
            "(gate.force=true gate.why='TEXT')"
        )

    def data(self) -> DataVerdict:
        """Returns the verdict on tonight's data by comparison with the data of the rival: later data that was refused
        may have the same fault."""
        store = None if self.rival is None else self.rival.store
        before = None if store is None else self.store.folder.parent / store
        if before is None or before == self.store.folder or not before.exists():
            return verdict_at(self.store.folder)
        return verdict_beside(self.store.folder, before, instantiate(self.plan.config.profiling, "profiling"))

    @property
    def reached(self) -> Reached | None:
        """Metrics that the rival's twin reached on the night it was judged; null where no night made it."""
        found = {} if self.rival is None else self.rival.verdict
        return Reached(**found["reached"]) if "reached" in found else None

    @property
    def days_since(self) -> float:
        """Days from the end of the rival's data to the end of tonight's; at least 1, and 1 where unknown."""
        ends = self.record.data_end, None if self.rival is None else self.rival.data_end
        if ends[0] is None or ends[1] is None:
            return 1.0
        return max(1.0, (datetime.fromisoformat(ends[0]) - datetime.fromisoformat(ends[1])) / timedelta(days=1))

    def knowing(self, **facts: Any) -> "Night":
        """Writes more facts into the night's record; returns the night with it."""
        record = replace(self.record, **facts)
        self.plan.ledger.write(record)
        return replace(self, record=record)

    def twin_config(self) -> DictConfig:
        """Returns the configuration for training tonight's twin, which sees neither validation nor the window."""
        if self.twin is None:
            return self._train("validation")
        cold = self._train("validation")
        if network_digest(cold) != network_digest(config_of_run(self.twin)):
            print(f"{self.twin}: has another network, objective or placement than is asked for: trained from scratch")
            return cold
        return self._train("validation", self.twin, self.plan.warm.share)

    def refit_config(self, judged: Path) -> DictConfig:
        """Returns the configuration for training the published run: it continues from tonight's twin up to the last
        event."""
        return self._train("end", judged, self.plan.warm.refit_share)

    def said(self, verdict: Verdict, evidence: Evidence) -> "Night":
        """Writes the gate's verdict into the record, and the metrics of the twin, which later nights compare with;
        returns the night."""
        said = verdict.to_json()
        if evidence.twin is None:
            return self.knowing(verdict=said)
        key, means = self.plan.main_metric, evidence.twin.evaluation.means()
        shown = (key, metric_key(key, "discovery"), metric_key(key, "cold_content"))
        with suppress(Lacking):  # too few listeners: the rules `finite` and `main_metric` say so
            said["reached"] = asdict(Reached.of(evidence.twin, key))
        return self.knowing(verdict=said, metrics={name: means[name] for name in shown if name in means})

    def exported(self, target: Path) -> "Night":
        """Writes the version into the record; returns the night."""
        manifest, served = read_json(target / MANIFEST), self.plan.folders.served()
        told = None if served is None else space_told(read_json(served / MANIFEST), manifest)
        return self.knowing(version=target.name, space_id=manifest["space_id"], space_told=told)

    @property
    def named(self) -> str:
        """Name of its version for people, or of the stage that it has reached."""
        record = self.record
        run = None if record.judged is None else f"tonight's version ({record.judged})"
        return record.version or run or f"night {record.night}"

    @property
    def stays(self) -> str:
        """Text on which version stays when tonight's is refused."""
        served = self.plan.folders.served()
        return "nothing is current" if served is None else f"current stays at {served.name}"

    def run_of(self, training: DictConfig) -> str:
        """Returns the folder of a training's run as records name it."""
        return str(training_plan(training, self.store).folder.relative_to(self.plan.folders.runs))

    def _train(self, until: str, begins_with: Path | None = None, share: float = 1.0) -> DictConfig:
        config = seen_by("train", self.plan.config)
        with open_dict(config):
            if wandb_project(config) is not None:  # beside the night's own run
                config.logger = {"group": group_of(self.plan.data), "job_type": "train", **config.logger}
            config.train_until = until
            if until == "end":  # nothing is validated, so it cannot end early
                config.trainer.patience = None
            if begins_with is not None:
                epochs = training_plan(config, self.store).config["trainer"]["max_epochs"]
                config.trainer.max_epochs = max(1, round(share * epochs))
                config.trainer.validate_every_epochs = 1
                config.schedule = self.plan.config.warm_schedule
                config.warm_start = {"checkpoint": str(begins_with), "optimizer": self.plan.warm.optimizer}
        return config


def night_plan(config: DictConfig) -> NightPlan:
    """Turns the configuration of `towers retrain` into a plan.

    Raises:
        UserError: a key does not fit.
    """
    config = config.copy()
    with open_dict(config):
        config.data.split = config.night_split
        config.evaluation.period = "test"  # the period of the window; validation chose the epoch
    data, folders, versions = value(config, "data.name", str), folders_of(config), versions_of(config)
    nodes = config.gate.rules.items()
    if config.warm.optimizer == "carry":
        check_carried("warm.optimizer", config, None)
    return NightPlan(
        config=config,
        data=data,
        folders=folders,
        ledger=versions.ledger,
        lock=folders.stores / data / LOCK,
        waits=value(config, "wait", bool),
        sink=versions.sink,
        rules={str(name): None if node is None else instantiate(node, f"gate.rules.{name}") for name, node in nodes},
        force=force_of(value(config, "gate.force", bool), value(config, "gate.why", str | None)),
        canaries=instantiate(config.canaries, "canaries"),
        headroom=instantiate(config.headroom, "headroom"),
        watchers=versions.watchers,
        keep=KeptNights(**{name: value(config, f"keep.{name}", int) for name in ("versions", "nights")}),
        warm=Warm(
            share=value(config, "warm.share", float),
            refit_share=value(config, "warm.refit_share", float),
            optimizer=value(config, "warm.optimizer", str),
        ),
        main_metric=versions.main_metric,
    )


def _is_before(end: str | None, other: str | None) -> bool:
    """Returns whether data ends before other data; false where either has no times."""
    return end is not None and other is not None and datetime.fromisoformat(end) < datetime.fromisoformat(other)
