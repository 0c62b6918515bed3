"""An export: its configuration to a plan, and a run to what is exported of it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from towers.assembly.judging import Judging, judging_of, vector_ranker
from towers.assembly.prepared import Given, given_of
from towers.assembly.run import Run, load_run
from towers.config.instantiate import complete, instantiate, value
from towers.errors import UserError
from towers.evaluation.acceptance import acceptance
from towers.evaluation.checks.honesty import Check, failures
from towers.evaluation.slicings import Period
from towers.manifest import digest_of, read_json
from towers.publishing.held_out import HeldOutListening
from towers.publishing.sinks.sink import Sink
from towers.publishing.trained import ExportSettings, Trained
from towers.publishing.writer import CURRENT
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST

Promote = Literal[True, False, "auto"]
"""Whether `current` moves to a version: auto where its run was evaluated, the figures passed their own checks and are
not below popularity, and no newer one serves."""

JUDGED_ON: tuple[Period, ...] = ("test", "validation")
"""The first that the run was evaluated on decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What `towers export` does, its configuration turned into parts.

    Args:
        settings: how the export is written.
        sink: engine that gets the vectors, too.
        exports: folder of all versions.
        stores: folder of all prepared stores.
        judging: by which versions are compared.
        given: of how the run's store was prepared, by the caller.
        shown: columns of an evaluation's tables, of which the figures go along.
        main_metric: by which a run may be published without being asked.
        promote: whether `current` moves to what is exported.
        is_refreshed: whether listeners, events and contents are those of the newest store.
    """

    settings: ExportSettings
    sink: Sink
    exports: Path
    stores: Path
    judging: Judging
    given: Given
    shown: frozenset[str]
    main_metric: str
    promote: Promote
    is_refreshed: bool

    def load(self, run: Path) -> Run:
        """The run in a folder, on its own store or on today's."""
        return load_run(run, self.stores, self.is_refreshed)

    def trained(self, run: Run) -> Trained:
        """What is exported of a run, with the figures of its evaluation.

        Raises:
            UserError: its store was prepared otherwise than the caller says.
        """
        self.given.check(run.store)
        held_out = HeldOutListening(
            run.store,
            filter_seen=self.judging.filter_seen,
            min_users=self.judging.min_users,
            ranker=vector_ranker(),
        )
        return Trained(
            store=run.store,
            two_tower=run.two_tower,
            positives=run.positives,
            content_blocks=run.content_blocks,
            sounds=run.sounds,
            sound_blocks=run.sound_blocks,
            user_vectors=run.user_vectors,
            max_length=run.max_length,
            provenance=run.provenance,
            weights=run.fingerprint,
            config=digest_of(run.config),
            metrics=self._metrics(run),
            held_out=held_out,
        )

    def _metrics(self, run: Run) -> dict[str, dict[str, float]]:
        """Means by ranker of the run's test evaluation, of the columns of its tables; empty where there is none."""
        return {
            name: {key: figure for key, figure in means.items() if key in self.shown}
            for name, means in evaluated_means(run.folder, "test").items()
        }

    def withheld(self, run: Path, target: Path) -> str | None:
        """Why `current` does not move to the version in `target`, which was made of the run; null where it moves, or
        points there already."""
        served = self.served()
        if self.promote is True or served == target.resolve():
            return None
        if self.promote is False:
            return "promote=false"
        if served is not None and (older := older_by(target, served)):
            return f"{older} {served.name}, which serves now"
        for period in JUDGED_ON:
            if means := evaluated_means(run, period):
                if failed := failures(evaluated_checks(run, period)):
                    return f"its evaluation does not stand up to its own checks ({failed})"
                return acceptance(means, self.main_metric).refusal
        return f"{run} was not evaluated"

    def served(self) -> Path | None:
        """The version that `current` points to; null where there is none."""
        current = self.exports / CURRENT
        return current.resolve() if current.exists() else None

    def version_with(self, source: str) -> Path | None:
        """The version that was made of the same network in the same way, of several the last; null without one."""
        versions = [path.parent for path in self.exports.glob(f"[!.]*/{MANIFEST}") if not path.parent.is_symlink()]
        found = [version for version in versions if read_json(version / MANIFEST).get("source") == source]
        return max(found, key=written_ns, default=None)

    def earlier(self) -> Export | None:
        """The version onto whose space the new one is turned.

        Raises:
            UserError: it was asked for by another name than `current`, and is not there, or it is damaged.
        """
        name = self.settings.align_to
        is_default = name == str(self.exports / CURRENT)
        if name is None or (is_default and not Path(name).exists()):
            return None
        return Export(Path(name))


def evaluated_means(run: Path, period: Period) -> dict[str, dict[str, float]]:
    """Means by ranker of a run's evaluation in a period, the model's first; empty where there is none."""
    path = run / f"evaluation-{period}" / "metrics.json"
    rankers = read_json(path)["rankers"] if path.exists() else {}
    return {name: figures["means"] for name, figures in rankers.items()}


def evaluated_checks(run: Path, period: Period) -> list[Check]:
    """What a run's evaluation in a period found of itself; evaluations of before say nothing."""
    metadata = read_json(run / f"evaluation-{period}" / "metrics.json")["metadata"]
    return [Check(**check) for check in metadata.get("checks", [])]


def older_by(version: Path, other: Path) -> str | None:
    """In what a version is older than another one, in words that the other's name follows; null where it is not."""
    ends = data_end(version), data_end(other)
    if ends[0] is not None and ends[1] is not None and ends[0] != ends[1]:
        return "its data ends before that of" if ends[0] < ends[1] else None
    return "it was exported before" if written_ns(version) < written_ns(other) else None


def data_end(version: Path) -> datetime | None:
    """The last event of a version's data; null without a clock."""
    end = read_json(version / MANIFEST).get("window", {}).get("end")
    return None if end is None else datetime.fromisoformat(end)


def written_ns(version: Path) -> int:
    """When a version was written; its name does not say it, as two of one day differ in a fingerprint alone."""
    return (version / MANIFEST).stat().st_mtime_ns


def export_plan(config: DictConfig) -> ExportPlan:
    """Turns the configuration of `towers export` into a plan.

    Raises:
        UserError: a key that does not fit.
    """
    if not isinstance(config.export, DictConfig):
        raise UserError(f"export={config.export}: not a key of this command; keys of an export are export.KEY=VALUE")
    settings: Any = complete(config.export, "export", index=instantiate(config.index, "index"))
    tables = value(config, "evaluation.tables", tuple[list[str], ...] | None) or ()
    return ExportPlan(
        settings=settings,
        sink=instantiate(config.sink, "sink"),
        exports=Path(config.paths.exports),
        stores=Path(config.paths.stores),
        judging=judging_of(config),
        given=given_of(config),
        shown=frozenset(key for keys in tables for key in keys),
        main_metric=value(config, "evaluation.main_metric", str),
        promote=promote_of(config),
        is_refreshed=value(config, "refresh", bool),
    )


def promote_of(config: DictConfig) -> Promote:
    """Reads whether `current` moves.

    Raises:
        UserError: neither true, false nor auto.
    """
    found = value(config, "promote", bool | str)
    if found is True or found is False or found == "auto":
        return found
    raise UserError(f"promote={found}: must be true, false or auto")
