"""A night as one run of Weights & Biases, in a group with the night's trainings, and a rollback as a small one.

It is written at the end of the night, with any ending, from files of the night: after an early end there is less to
show. Where wandb is offline, the run stays below the folder of the night's records until `wandb sync` uploads it. It
contains no id of a listener.
"""

import importlib.util
import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from towers.errors import UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.record import Record
from towers.lifecycle.watching import wandb_links, wandb_shown, wandb_tables
from towers.lifecycle.watching.night_state import NightState, Serving
from towers.lifecycle.watching.wandb_artifacts import (
    checkpoint_artifact,
    checkpoint_of,
    export_artifact,
    store_artifact,
    use,
)
from towers.lifecycle.watching.wandb_names import alias_of, artifact_name, group_in, night_run, rollback_run
from towers.lifecycle.watching.wandb_upload import uploaded
from towers.lifecycle.watching.watcher import Watcher, one_line
from towers.retrieval.export import Export
from towers.retrieval.projection_2d import even_sample
from towers.secrets import masked_values
from towers.training.wandb_runs import FOLDER, id_of, kept_below, opened, tell, wandb_mode, where_kept

Alias = Literal["candidate", "champion", "rejected"]
MOVING: Final[tuple[Alias, ...]] = ("candidate", "champion", "rejected")
"""Aliases that tell the fate of a version; each belongs to the last version that it is true of."""
KEPT_COPIES: Final = 30
"""Number of runs waiting for their upload whose copies of artifacts' files are kept, the newest first."""
REGISTRY: Final = re.compile(r"([^/:]+/)?wandb-registry-[^/:]+/[^/:]+")


class WandbNight(Watcher):
    """Writes nights and rollbacks as runs of Weights & Biases; does nothing where trainings are not logged there.

    Args:
        registry: collection that versions are linked to, `wandb-registry-NAME/COLLECTION`; null: none.
        reference_above_mb: megabytes above which a file of an artifact enters by its address instead of being uploaded.
        listeners: number of listeners who are shown with what they heard last and their recommendations; 0: none.
        k: number of recommendations of each.
        upload_within_s: seconds that the upload of a run may take; the rest stays on disk for `wandb sync`.

    Raises:
        UserError: an invalid value.
    """

    def __init__(self, registry: str | None, reference_above_mb: float, listeners: int, k: int, upload_within_s: float):
        if registry is not None and not REGISTRY.fullmatch(registry):
            raise UserError(f"watchers.wandb.registry={registry}: must be wandb-registry-NAME/COLLECTION, or null")
        for name, value, least in (
            ("reference_above_mb", reference_above_mb, 0),
            ("listeners", listeners, 0),
            ("k", k, 1),
            ("upload_within_s", upload_within_s, 1),
        ):
            if not value >= least:
                raise UserError(f"watchers.wandb.{name}={value}: must be {least} or more")
        self._registry = registry
        self._limit_mb = reference_above_mb
        self._listeners, self._k = listeners, k
        self._upload_within_s = upload_within_s
        self._logged: list[str] = []  # artifacts of the run that is open, each with an alias

    def check(self) -> None:
        """Raises `UserError` where wandb is not installed."""
        if importlib.util.find_spec("wandb") is None:
            raise UserError("watchers.wandb: wandb is not installed; pip install wandb, or set watchers.wandb=null")

    def ended(self, state: NightState) -> None:
        """Writes the night's run; a night with nothing to do has none, as the night that made the version has one."""
        if state.ending == "nothing":
            return
        with self._run(state, night_run(state), "night") as run:
            if run is None:
                return
            for what, write in {
                "config": lambda: run.config.update({**state.config, "uses": _used(state)}, allow_val_change=True),
                "summary": lambda: run.summary.update(masked_values(wandb_tables.summary_of(state))),
                "curves": lambda: _log_curves(run, state),
                "tables": lambda: self._log_tables(run, state),
                "export": lambda: self._log_export(run, state),
                "uses": lambda: self._log_used(run, state),
                "checkpoint": lambda: self._log_checkpoint(run, state),
                "version": lambda: self._log_version(run, state),
            }.items():
                _try(what, write)

    def put_back(self, state: NightState) -> None:
        """Writes a run of the rollback, which moves the aliases: nothing else tells Weights & Biases what serves."""
        if state.serving is None:
            return
        with self._run(state, rollback_run(state), "rollback") as run:
            if run is None:
                return
            _try("config", lambda: run.config.update({**state.config}, allow_val_change=True))
            _try("summary", lambda: run.summary.update(masked_values(_rollback_summary(state))))
            bad, good = state.served_before, state.serving
            if bad is not None and bad.version != good.version:
                _try("rejected", lambda: self._mark(run, state, bad, "rejected"))
            _try("champion", lambda: self._mark(run, state, good, "champion"))

    @contextmanager
    def _run(self, state: NightState, name: str, job_type: str) -> Iterator[Any]:
        """Yields the opened run; null where there is none.

        It is always written offline, and then uploaded by `wandb sync` in a child process: a server that falls silent
        blocks an online run for minutes at every artifact, and the night holds the lock meanwhile.
        """
        if state.project is None or (mode := wandb_mode()) == "disabled":
            yield None
            return
        folder = state.nights / FOLDER
        _drop_copies(folder)
        settings = {
            "console": "off",  # the night's lines stand in its log
            "x_disable_machine_info": True,  # the machine's figures are in the trainings' runs
            "x_disable_stats": True,
        }
        state.nights.mkdir(parents=True, exist_ok=True)
        self._logged = []
        with kept_below(folder / wandb_shown.COPIES / id_of(name)):
            run = opened(state.nights, name, state.project, group_in(state), job_type, settings, "offline")
            with run:
                yield run
            if mode == "online":
                run_folder = Path(run.settings.sync_dir).name
                uploaded(folder, run_folder, state.project, self._logged, self._upload_within_s)
            else:
                tell(where_kept(run, state.nights, str(state.nights)))
        _drop_copies(folder)
        if left := wandb_links.kept(folder):
            named = ", ".join(f"{each.artifact}:{each.version}" for each in left)
            tell(f"not linked so far: {named}; {folder / wandb_links.FILE} keeps it for the next run that is online")

    def _log_tables(self, run: Any, state: NightState) -> None:
        record, main_metric = state.record, state.config.get("evaluation", {}).get("main_metric")
        tables = {
            "gate": None if record is None else wandb_tables.gate_rows(record),
            "findings": None if state.store is None else wandb_tables.findings(state.store),
            "slices": None if main_metric is None else wandb_tables.slice_rows(state.means, main_metric),
        }
        for name, rows in tables.items():
            if rows is not None:
                run.log({name: _table(rows)})
        if state.store is not None:
            run.summary.update(wandb_tables.profile_figures(state.store))

    def _log_export(self, run: Any, state: NightState) -> None:
        """Logs facts on the version: drift, the map as a picture, and recommendations."""
        if state.export is None:
            return
        import wandb  # here as below, because a watcher is imported where there is no wandb
        from PIL import Image

        from towers.evaluation.report.drawing import png  # matplotlib, which a rollback does not wait for
        from towers.lifecycle.watching.drawn import map_of_contents

        run.summary.update(wandb_tables.drift_figures(state.export))
        export = Export(state.export, check_files=False)
        picture = map_of_contents(export)
        run.log({"map": wandb.Image(Image.open(io.BytesIO(png(picture.figure))), caption=picture.caption)})
        if self._listeners:
            users = even_sample(len(export.user_vectors), self._listeners).tolist()
            wandb_shown.note(state.nights / FOLDER, run.id, [export.user_ids[user] for user in users])
            run.log({"recommendations": _table(wandb_tables.recommended(export, users, self._k))})

    def _log_used(self, run: Any, state: NightState) -> None:
        """Declares which data the night used, and which version served before it."""
        if state.store is not None:
            self._use(run, store_artifact(state.data, state.store, self._limit_mb), [alias_of(state.store.name)])
        before = state.served_before
        if before is not None and before.folder.exists() and before.folder != state.export:
            self._use(run, export_artifact(state.data, before.folder, self._limit_mb), [alias_of(before.version)])

    def _log_checkpoint(self, run: Any, state: NightState) -> None:
        """Logs the run that the version was exported from, or would have been, under the alias of the ending."""
        made = state.refit or state.twin
        if made is not None:
            own = made.name if state.export is None else state.export.name
            self._log(run, checkpoint_artifact(state.data, made, self._limit_mb), _aliases(_alias(state), own))

    def _log_version(self, run: Any, state: NightState) -> None:
        """Logs the version under the alias of the ending, and links it unless it was refused, so that no consumer takes
        a refused one."""
        if state.export is None:
            return
        alias, artifact = _alias(state), export_artifact(state.data, state.export, self._limit_mb)
        self._log(run, artifact, _aliases(alias, state.export.name))
        if alias in ("candidate", "champion"):
            self._keep_link(state, state.export.name, alias)

    def _mark(self, run: Any, state: NightState, version: Serving, alias: Alias) -> None:
        """Gives a version its alias: equal files make the artifact that its night has logged."""
        if not version.folder.exists():
            tell(f"{version.folder}: is gone; its artifact keeps its aliases")
            return
        artifact = export_artifact(state.data, version.folder, self._limit_mb)
        self._use(run, artifact, _aliases(alias, version.version))
        self._keep_link(state, version.version, alias)
        record = _record_of(state, version)
        folder = None if record is None else checkpoint_of(state.runs, record)
        if folder is not None:
            checkpoint = checkpoint_artifact(state.data, folder, self._limit_mb)
            self._use(run, checkpoint, _aliases(alias, version.version))

    def _use(self, run: Any, artifact: Any, aliases: Sequence[str]) -> None:
        use(run, artifact, aliases)
        self._logged.append(f"{artifact.name}:{aliases[-1]}")  # its own

    def _log(self, run: Any, artifact: Any, aliases: Sequence[str]) -> None:
        run.log_artifact(artifact, aliases=[*aliases])
        self._logged.append(f"{artifact.name}:{aliases[-1]}")

    def _keep_link(self, state: NightState, version: str, alias: Alias) -> None:
        """Notes that a version belongs into the registry; it is linked once it has been uploaded."""
        if self._registry is None:
            return
        folder = state.nights / FOLDER
        link = wandb_links.Link(
            artifact=artifact_name(state.data, "export"),
            version=alias_of(version),
            registry=self._registry,
            aliases=tuple(_aliases(alias, version)),
        )
        wandb_links.note(folder, link, MOVING)


def _try(what: str, write: Callable[[], Any]) -> None:
    """Writes a part; if it fails, the other parts are written nevertheless."""
    try:
        write()
    except Exception as error:  # any error in a part that is only for display
        tell(f"{what} of the night's run: {one_line(error)}; left out")


def _table(rows: wandb_tables.Rows) -> Any:
    import wandb

    data: Any = masked_values(rows.rows)
    return wandb.Table(columns=[*rows.columns], data=data, allow_mixed_types=True)


def _log_curves(run: Any, state: NightState) -> None:
    """Logs both trainings, each over its own steps; a continued night logs them once more, at the same steps."""
    record = state.record
    for name, folder in (("twin", state.twin), ("refit", state.refit)):
        points = [] if folder is None else wandb_tables.curve(folder, [*(record.metrics if record else ())])
        run.define_metric(f"{name}/step", hidden=True)
        run.define_metric(f"{name}/*", step_metric=f"{name}/step")
        for point in points:
            run.log({f"{name}/{key}": figure for key, figure in point.items()})


def _used(state: NightState) -> dict[str, str]:
    """Returns the names of the artifacts that the night used, for readers without the lineage."""
    before = state.served_before
    store = {} if state.store is None else {"store": state.store.name}
    return {**store, **({} if before is None else {"served_before": before.version})}


def _alias(state: NightState) -> Alias | None:
    """Returns the alias for the fate of the night's version; null where it is not decided, as the same command
    continues. A version that serves is the champion even where the night has failed afterwards."""
    if state.export is not None and state.serving is not None and state.serving.version == state.export.name:
        return "champion"
    if state.ending == "published":  # but it does not serve: a rollback came first
        return "rejected" if state.record is not None and state.record.bar is not None else None
    if state.ending == "late":
        return "candidate"
    return "rejected" if state.ending == "refused" else None


def _aliases(alias: Alias | None, version: str) -> list[str]:
    return [*([] if alias is None else [alias]), alias_of(version)]


def _record_of(state: NightState, version: Serving) -> Record | None:
    ledger = Ledger(folder=state.nights, exports=version.folder.parent, runs=state.runs)
    return ledger.of_version(version.version)


def _rollback_summary(state: NightState) -> dict[str, Any]:
    assert state.serving is not None  # else there is no run
    last = None if state.record is None or not state.record.remarks else state.record.remarks[-1]
    return {
        "serving": state.serving.version,
        "space_id": state.serving.space_id,
        "served_before": "" if state.served_before is None else state.served_before.version,
        **({} if last is None else {"who": last.who, "why": last.why or "", "when": last.when}),
    }


def _drop_copies(folder: Path) -> None:
    """Removes the copies of runs that were uploaded (`wandb sync` leaves a mark beside each), of runs that are gone,
    and of all but the last `KEPT_COPIES` runs: a machine that never uploads would fill its disk."""
    waiting: list[tuple[str, Path]] = []
    for copies in sorted((folder / wandb_shown.COPIES).glob("*")):
        runs: Sequence[Path] = sorted(folder.glob(f"*run-*/run-{copies.name}.wandb"))
        if all(path.with_name(f"{path.name}.synced").exists() for path in runs):
            shutil.rmtree(copies, ignore_errors=True)
        else:
            waiting.append((runs[-1].parent.name.rpartition("run-")[2], copies))  # begins with when it was begun
    for _, copies in sorted(waiting)[:-KEPT_COPIES]:
        shutil.rmtree(copies, ignore_errors=True)
