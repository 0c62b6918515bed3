"""Stores, checkpoints and exports as artifacts of Weights & Biases, and how a run uses them.

The same files at the same place make an artifact of the same digest, which wandb keeps once: so a roll back names the
version that a night has logged, and moves an alias to it. A file that holds listeners, or is above a limit, is named by
its address alone: nothing of it is read, copied or uploaded, and its digest is that of the address, in which the name
of a version or the fingerprint of a store stands for the content.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from towers.data.profiling.files import FILE as PROFILE
from towers.lifecycle.record import Record
from towers.lifecycle.watching.wandb_names import TYPES, Kind, artifact_name
from towers.manifest import read_json
from towers.retrieval import files
from towers.secrets import masked_values
from towers.training.run_folder import BEST, CONFIG_FILE, ENVIRONMENT_FILE, FINISHED, LAST

MB: Final = 1e6
OF_LISTENERS: Final = (
    files.USERS, files.USER_ORDER, files.USER_VECTORS, files.USER_EMBEDDINGS, files.HISTORIES, files.PLAYLISTS,
    files.CONTENTS, files.CONTENTS_FOR_ENGINES, files.MANIFEST,
)  # fmt: skip
"""Files and folders of an export that hold listeners, the titles that they gave playlists, or, as the manifest's
canaries, some of their ids: these never leave the machine. What else the manifest says is the artifact's metadata."""
OF_RUN: Final = (CONFIG_FILE, ENVIRONMENT_FILE, FINISHED, LAST, BEST)
"""Files of a run that its artifact is of."""


def store_artifact(data: str, folder: Path, limit_mb: float) -> Any:
    """Makes the artifact of a prepared store: only its manifest and its profile name no listener, and go inline.

    Args:
        data: name of the data set.
        folder: of the store.
        limit_mb: megabytes above which a file is named by its address alone.
    """
    return _artifact(data, "store", folder, _below(folder), lambda name: name in (files.MANIFEST, PROFILE), limit_mb)


def checkpoint_artifact(data: str, folder: Path, limit_mb: float) -> Any:
    """Makes the artifact of a run: its checkpoints and what says how it was made; arguments as `store_artifact`."""
    there = [folder / name for name in OF_RUN if (folder / name).exists()]
    return _artifact(data, "checkpoint", folder, there, lambda name: True, limit_mb)


def export_artifact(data: str, folder: Path, limit_mb: float) -> Any:
    """Makes the artifact of a version; arguments as `store_artifact`."""
    told = {name: each for name, each in read_json(folder / files.MANIFEST).items() if isinstance(each, str | int)}
    return _artifact(
        data, "export", folder, _below(folder), lambda name: name.split("/")[0] not in OF_LISTENERS, limit_mb, told
    )


def checkpoint_of(runs: Path, record: Record) -> Path | None:
    """Returns the run that a record's version was exported from, or that it would have been; null where there is none
    (any more)."""
    folders = [runs / run for run in (record.refit, record.judged) if run is not None]
    return next((folder for folder in folders if (folder / LAST).exists()), None)


def use(run: Any, artifact: Any, aliases: Sequence[str]) -> None:
    """Says that a run uses an artifact, which it did not make.

    `run.use_artifact` of an artifact that is made here is, in wandb, to log it with the remark that the run uses it as
    soon as it is there, and then to wait for that. Offline it refuses, although the very same record can be written,
    and `wandb sync` sends it as an online run would. So the record is written here. It is a method of wandb's own that
    is called; where another release has none, this raises, and the names that the run's configuration has under `uses`
    are what is left.

    Args:
        run: opened.
        artifact: that was made here.
        aliases: that it gets.
    """
    run._log_artifact(artifact, aliases=[*aliases], is_user_created=True, use_after_commit=True)


def _below(folder: Path) -> Iterator[Path]:
    """Yields all files of a folder in order, hidden ones aside."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return (path for path in sorted(found) if not any(part[0] == "." for part in path.relative_to(folder).parts))


def _artifact(
    data: str, kind: Kind, folder: Path, paths: Iterator[Path] | list[Path], may_go: Callable[[str], bool],
    limit_mb: float, told: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    import wandb  # here, because a watcher is imported where there is no wandb

    metadata = {**(told or {}), "folder": str(folder.resolve()), "name": folder.name}
    artifact = wandb.Artifact(artifact_name(data, kind), type=TYPES[kind], metadata=masked_values(metadata))
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if may_go(name) and path.stat().st_size <= limit_mb * MB:
            artifact.add_file(str(path), name=name, skip_cache=True)
        else:
            artifact.add_reference(path.resolve().as_uri(), name=name, checksum=False)
    return artifact
