"""An export: its configuration to a plan, and a run to the parts that are exported."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from towers.assembly.judged import judged_run
from towers.assembly.judging import Judging, judging_of, vector_ranker
from towers.assembly.prepared import Given, given_of
from towers.assembly.promotion import Promotion, evaluated_means, promotion_of, written_ns
from towers.assembly.run import Run, load_run
from towers.config.instantiate import complete, instantiate, value
from towers.config.signature import digest_of_run
from towers.data.event_times import instant_us, shown_time
from towers.errors import DataLacks, UserError
from towers.manifest import read_json
from towers.publishing.held_out import HeldOutListening
from towers.publishing.sinks.sink import Sink
from towers.publishing.trained import ExportSettings, Trained
from towers.publishing.writer import CURRENT
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """Plan of `towers export`.

    Args:
        settings: settings of the files that are written.
        sink: engine that gets the vectors, too.
        exports: folder of all versions.
        stores: folder of all prepared stores.
        judging: settings of the evaluations by which versions are compared.
        given: what the caller says of how the run's store was prepared.
        shown: columns of an evaluation's tables, whose figures are copied into the manifest.
        promotion: rule by which `current` moves to the version.
        is_refreshed: whether listeners, events and contents are those of the newest store.
        as_of_us: time of which listeners are exported, in microseconds since 1970; null: the end of the data.
    """

    settings: ExportSettings
    sink: Sink
    exports: Path
    stores: Path
    judging: Judging
    given: Given
    shown: frozenset[str]
    promotion: Promotion
    is_refreshed: bool
    as_of_us: int | None

    def load(self, run: Path) -> Run:
        """Loads the run in a folder, on its own store or the newest one, as of `as_of_us`.

        Raises:
            UserError: the network was trained on events after that time, or the data has no times.
        """
        loaded = load_run(run, self.stores, self.is_refreshed, is_compact=True)
        if self.as_of_us is None:
            return loaded
        store, until_us = loaded.store.until(self.as_of_us), loaded.provenance.trained_until_us
        if until_us is not None and self.as_of_us < until_us:
            raise UserError(
                f"as_of={shown_time(self.as_of_us)}: {run} was trained until {shown_time(until_us)}, so that lists as "
                "of then would look too good; give that time or a later one, or a run of train_until=validation"
            )
        return replace(loaded, store=store)

    def trained(self, run: Run) -> Trained:
        """Returns the parts of a run that are exported, with the figures of its evaluation.

        Raises:
            UserError: its store was prepared differently from what the caller says.
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
            config=digest_of_run(run.config),
            metrics=self._metrics(run),
            held_out=held_out,
            judged=self._judged(run),
        )

    def _judged(self, run: Run) -> Run | str:
        try:
            judged = judged_run(run, self.stores)
        except DataLacks as error:
            return str(error)
        if self.as_of_us is None or judged.store.as_of_us == self.as_of_us:
            return judged
        return replace(judged, store=judged.store.until(self.as_of_us))

    def _metrics(self, run: Run) -> dict[str, dict[str, float]]:
        """Returns means by ranker of the run's test evaluation, for the columns of its tables; empty where there is
        none, and with `as_of_us`, since the test goes on after it."""
        if self.as_of_us is not None:
            return {}
        return {
            name: {key: figure for key, figure in means.items() if key in self.shown}
            for name, means in evaluated_means(run.folder, "test").items()
        }

    def version_with(self, source: str) -> Path | None:
        """Returns the version made from the same network in the same way, of several the newest; null where there is
        none."""
        versions = [path.parent for path in self.exports.glob(f"[!.]*/{MANIFEST}") if not path.parent.is_symlink()]
        found = [version for version in versions if read_json(version / MANIFEST).get("source") == source]
        return max(found, key=written_ns, default=None)

    def earlier(self) -> Export | None:
        """Opens the version to whose space the new one is aligned; null where there is none.

        Raises:
            UserError: it is damaged, or missing though it was named other than `current`.
        """
        name = self.settings.align_to
        is_default = name == str(self.exports / CURRENT)
        if name is None or (is_default and not Path(name).exists()):
            return None
        return Export(Path(name))


def export_plan(config: DictConfig) -> ExportPlan:
    """Turns the configuration of `towers export` into a plan.

    Raises:
        UserError: a key does not fit.
    """
    if not isinstance(config.export, DictConfig):
        raise UserError(f"export={config.export}: not a key of this command; keys of an export are export.KEY=VALUE")
    settings: Any = complete(config.export, "export", index=instantiate(config.index, "index"))
    as_of = value(config, "as_of", str | None)
    tables = value(config, "evaluation.tables", tuple[list[str], ...] | None) or ()
    return ExportPlan(
        settings=settings,
        sink=instantiate(config.sink, "sink"),
        exports=Path(config.paths.exports),
        stores=Path(config.paths.stores),
        judging=judging_of(config),
        given=given_of(config),
        shown=frozenset(key for keys in tables for key in keys),
        promotion=promotion_of(config),
        is_refreshed=value(config, "refresh", bool),
        as_of_us=None if as_of is None else instant_us("as_of", as_of),
    )
