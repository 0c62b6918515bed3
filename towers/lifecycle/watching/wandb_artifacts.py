"""Stores, checkpoints and exports as artifacts of Weights & Biases, and the runs that use them.

Equal files at the same place make an artifact with the same digest, which wandb stores once: so a rollback names the
version that a night has logged, and moves an alias to it. A file with listeners, or above a size limit, enters by its
address alone: it is not read, copied or uploaded, and its digest is that of the address, in which the name of a version
or the fingerprint of a store stands for the content.
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
"""Files and folders of an export with listeners, titles of their playlists, or, as the manifest's canaries, some of
their ids: these never leave the machine. The other values of the manifest become the artifact's metadata."""
OF_RUN: Final = (CONFIG_FILE, ENVIRONMENT_FILE, FINISHED, LAST, BEST)
"""Files of a run that its artifact contains."""


def store_artifact(data: str, folder: Path, limit_mb: float) -> Any:
    """Makes the artifact of a prepared store: only its manifest and its profile name no listener, and are included.

    Args:
        data: name of the data set.
        folder: folder of the store.
        limit_mb: megabytes above which a file enters by its address alone.
    """
    return _artifact(data, "store", folder, _below(folder), lambda name: name in (files.MANIFEST, PROFILE), limit_mb)


def checkpoint_artifact(data: str, folder: Path, limit_mb: float) -> Any:
    """Makes the artifact of a run: its checkpoints and how it was made; arguments as for `store_artifact`."""
    there = [folder / name for name in OF_RUN if (folder / name).exists()]
    return _artifact(data, "checkpoint", folder, there, lambda name: True, limit_mb)


def export_artifact(data: str, folder: Path, limit_mb: float) -> Any:
    """Makes the artifact of a version; arguments as for `store_artifact`."""
    told = {name: each for name, each in read_json(folder / files.MANIFEST).items() if isinstance(each, str | int)}
    return _artifact(
        data, "export", folder, _below(folder), lambda name: name.split("/")[0] not in OF_LISTENERS, limit_mb, told
    )


def checkpoint_of(runs: Path, record: Record) -> Path | None:
    """Returns the run that a record's version was exported from, or would have been; null where there is none (any
    more)."""
    folders = [runs / run for run in (record.refit, record.judged) if run is not None]
    return next((folder for folder in folders if (folder / LAST).exists()), None)


def use(run: Any, artifact: Any, aliases: Sequence[str]) -> None:
    """Declares that a run uses an artifact that it did not make.

    In wandb, `run.use_artifact` of a new artifact logs it with the note that the run uses it once it is there, and then
    waits for that. Offline it refuses, although the same record can be written, and `wandb sync` sends it as an online
    run would. So the record is written here, by a private method of wandb. Where another release lacks it, this raises,
    and only the names under `uses` in the run's configuration remain.

    Args:
        run: opened run.
        artifact: artifact made here.
        aliases: aliases that it gets.
    """
    run._log_artifact(artifact, aliases=[*aliases], is_user_created=True, use_after_commit=True)


def _below(folder: Path) -> Iterator[Path]:
    """Yields all files of a folder in order, without hidden ones."""
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
