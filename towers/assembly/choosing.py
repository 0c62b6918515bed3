"""Choice of the run, among several finished ones, that a command takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.assembly.cleaning import config_digest
from towers.config.instantiate import value
from towers.errors import UserError
from towers.manifest import read_json
from towers.publishing.writer import CURRENT
from towers.retrieval.files import MANIFEST
from towers.training.checkpoints import digest_of_weights, final_checkpoint
from towers.training.run_folder import CONFIG_FILE, ENVIRONMENT_FILE, FINISHED

BEST = "best:"
"""Prefix of a `checkpoint` that names a folder of runs and asks for the best of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """Facts of a finished run, without its weights.

    Args:
        folder: folder of the run, with links resolved.
        monitor: metric by which its best checkpoint was chosen, higher is better; null: none.
        best: best value of that metric; null where nothing was validated.
        best_epoch: epoch after which it was reached.
        seconds: duration of training by the clock, over all starts.
        judged_on: fingerprint of the store, and what else decides what the metric means.
        finished_ns: time when it ended.
        project: project of Weights & Biases that it was logged to; null: none.
    """

    folder: Path
    monitor: str | None
    best: float | None
    best_epoch: int | None
    seconds: float
    judged_on: tuple[Any, ...]
    finished_ns: int
    project: str | None

    @classmethod
    def of(cls, folder: Path) -> "FinishedRun | None":
        """Reads the run in a folder; null where there is no finished one."""
        if not (folder / FINISHED).exists():
            return None
        whole = folder.resolve()
        if folder.is_symlink():
            folder = whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
        finished = read_json(folder / FINISHED)
        config, made_on = _read(folder / CONFIG_FILE), _read(folder / ENVIRONMENT_FILE)
        return cls(
            folder=folder,
            monitor=OmegaConf.select(config, "trainer.monitor"),
            best=finished.get("best"),
            best_epoch=finished.get("best_epoch"),
            seconds=finished.get("seconds", 0.0),
            judged_on=(made_on.get("store"), bool(OmegaConf.select(config, "evaluation.filter_seen"))),
            finished_ns=(folder / FINISHED).stat().st_mtime_ns,
            project=OmegaConf.select(config, "logger.project"),
        )

    def is_comparable(self, other: "FinishedRun") -> bool:
        """Returns whether the best values of both are of one metric on the same validation."""
        return (self.monitor, self.judged_on) == (other.monitor, other.judged_on)


def chosen_run(config: DictConfig) -> Path:
    """Returns the run that `checkpoint` names; for `best:FOLDER` the best run in a folder; for null the newest finished
    one of the experiment. Prints which run it is where it was not named.

    Raises:
        UserError: there is none.
    """
    runs = Path(config.paths.runs)
    given = value(config, "checkpoint", str | None)
    if given is None:
        return _newest(runs, value(config, "name", str))
    if not given.startswith(BEST):
        return Path(given)
    folder = Path(given.removeprefix(BEST))
    is_whole = folder.is_dir() or folder.is_relative_to(runs)
    return _best(folder if is_whole else runs / folder, given)


def serving_run(config: DictConfig) -> Path | None:
    """Returns, and prints, the run that the served version was made from; null where a run is named, no version serves,
    or its run is not among those of the experiment."""
    manifest = Path(config.paths.exports) / CURRENT / MANIFEST
    if config.checkpoint is not None or not manifest.exists():
        return None
    served = read_json(manifest)
    for run in _finished(Path(config.paths.runs) / value(config, "name", str)):
        if config_digest(run.folder) != served["config"]:
            continue
        if digest_of_weights(final_checkpoint(run.folder)) == served["weights"]:
            print(f"run {run.folder}: {manifest.parent.resolve().name}, which serves, was made of it")
            return run.folder
    return None


def best_of(finished: list[FinishedRun]) -> FinishedRun | None:
    """Returns the best run among those comparable with the newest validated one, of equal ones the first; null where
    none was validated. A run with train_until=test is not: it has trained on the validation period."""
    validated = [run for run in finished if run.best is not None]
    newest = max(validated, key=lambda run: run.finished_ns, default=None)
    rivals = [run for run in validated if newest is not None and run.is_comparable(newest)]
    return max(rivals, key=lambda run: (run.best, -run.finished_ns), default=None)


def _newest(runs: Path, name: str) -> Path:
    finished = list(_finished(runs / name))  # not one glob: a name may contain its special characters
    if not finished:
        raise UserError(
            f"{runs / name}: no finished run here; run `towers train` first, with the same experiment=, or give "
            "checkpoint=FOLDER"
        )
    newest, best = max(finished, key=lambda run: run.finished_ns), best_of(finished)
    if len(finished) == 1:
        print(f"run {newest.folder}: the only finished one in {runs / name}")
    elif best is None or best.folder == newest.folder:
        also = "" if best is None else f", and the best by {newest.monitor}"
        print(f"run {newest.folder}: the newest finished of {len(finished)} in {runs / name}{also}")
    else:
        figure = "not validated" if newest.best is None else f"with {newest.best:.4f} in {newest.monitor}"
        print(
            f"run {newest.folder}: the newest finished of {len(finished)} in {runs / name}, {figure}; "
            f"checkpoint={BEST}{runs / name} takes the best, {best.folder} with {best.best:.4f}"
        )
    return newest.folder


def _best(folder: Path, given: str) -> Path:
    finished = list(_finished(folder)) if folder.is_dir() else []
    if not finished:
        raise UserError(
            f"checkpoint={given}: no finished run in {folder}; give a folder of runs or of a sweep, as it stands or as "
            "it is called in paths.runs"
        )
    best = best_of(finished)
    if best is None:
        raise UserError(f"checkpoint={given}: nothing was validated in the runs there; give checkpoint=FOLDER")
    rivals = sum(run.best is not None and run.is_comparable(best) for run in finished)
    others = len(finished) - rivals
    left_out = f"; {others} judged by another metric, on other data or not at all, left out" if others else ""
    print(f"run {best.folder}: the best of {rivals} in {folder}, with {best.best:.4f} in {best.monitor}{left_out}")
    return best.folder


def _finished(folder: Path) -> Iterator[FinishedRun]:
    """Yields the finished runs directly in a folder, each once, links resolved."""
    if not folder.is_dir():
        return
    paths = sorted(folder.glob("[!.]*"))
    yield from {path.resolve(): run for path in paths if (run := FinishedRun.of(path)) is not None}.values()


def _read(path: Path) -> DictConfig:
    """Reads a run's YAML or JSON; empty where the file is missing."""
    read = OmegaConf.load(path) if path.exists() else OmegaConf.create()
    assert isinstance(read, DictConfig)
    return read
