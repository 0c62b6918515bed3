"""Files of tables that are divided among ranks: every rank writes its own rows, and any number of ranks reads them.

`torch.distributed.checkpoint` does both. This module gives it the properties of a run's checkpoints: a killed process
leaves the old state or the new one, and reading runs no pickled code.

The rows of `last.ckpt` are in a folder `last.rows-N` beside it. The folder is complete before the new `last.ckpt`
replaces the old one, whose folder is deleted last.
"""

import os
import pickle
import re
import shutil
import warnings
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor import empty as empty_spread

from towers.disk import told_when_full
from towers.errors import UserError
from towers.models.rows import mesh_of_all

ROWS = "rows"
"""Key in a checkpoint of the description of the folder beside it."""

_OF_METADATA = (
    "Metadata", "TensorStorageMetadata", "ChunkStorageMetadata", "TensorProperties", "MetadataIndex", "StorageMeta",
    "_MEM_FORMAT_ENCODING",
)  # fmt: skip
DESCRIPTIONS = {
    *(("torch.distributed.checkpoint.metadata", name) for name in _OF_METADATA),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
}
"""Classes, by module and name, that torch's description of a folder of rows may contain."""

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value in a checkpoint."""


def take_rows(checkpoint: dict[str, Any]) -> tuple[dict[str, Any], dict[Place, DTensor]]:
    """Splits a checkpoint into one without the tables spread over ranks, and these tables; copies no tensor."""
    rows = dict(_spread(checkpoint, ()))
    found = checkpoint
    for place in rows:
        found = _with(found, place, None)
    return found, rows


def write_rows(path: Path, rows: dict[Place, DTensor]) -> dict[str, Any]:
    """Writes tables beside a checkpoint that is about to be written; all ranks must call.

    Args:
        path: path of the checkpoint.
        rows: tables by their places in the checkpoint.

    Returns:
        The value for the checkpoint's key `ROWS`.

    Raises:
        DiskFull: no space is left.
        Exception: any other error of this rank, or if it had none, of another one.
    """
    box = [_next_folder(path).name, os.getpid()]
    dist.broadcast_object_list(box, 0)
    folder = path.with_name(str(box[0]))
    temporary = folder.with_name(f".{folder.name}.{box[1]}.partial")
    named = {_name(place): tensor for place, tensor in rows.items()}
    try:
        with told_when_full(folder, temporary):
            _saved(named, temporary)
    except Exception:  # after any error, nothing half-written stays
        if dist.get_rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    if dist.get_rank() == 0:  # all ranks have written
        temporary.rename(folder)
    return {"folder": folder.name, "places": [list(place) for place in rows]}


def _saved(named: dict[str, DTensor], folder: Path) -> None:
    try:
        save(named, storage_writer=FileSystemWriter(folder))
    except CheckpointException as error:  # a BaseException, which handlers of a full disk would miss
        raise _own_failure(error) from error


def drop_rows(path: Path, kept: str | None) -> None:
    """Removes row folders of earlier checkpoints, and of interrupted writes, beside a checkpoint.

    Args:
        path: path of the checkpoint.
        kept: name of the folder that it refers to; null: none.
    """
    for folder in _numbered(path):
        if folder.name != kept:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in path.parent.glob(f".{path.stem}.{ROWS}-*.partial"):
        shutil.rmtree(folder, ignore_errors=True)  # only one training at a time writes there


def with_rows(path: Path, checkpoint: dict[str, Any], is_spread: bool) -> dict[str, Any]:
    """Returns a checkpoint with the tables of the folder beside it.

    Args:
        path: path of the checkpoint.
        checkpoint: the checkpoint as loaded from there.
        is_spread: whether each rank reads its own rows; all must call then. Otherwise this process reads all rows.

    Raises:
        UserError: the folder or one of its files is missing, or cannot be read.
        Exception: an error that is not about the files: too little memory, or a rank that does not answer.
    """
    told = checkpoint.get(ROWS)
    if told is None:
        return checkpoint
    folder = path.with_name(told["folder"])
    try:
        tables = _read(folder, [tuple(place) for place in told["places"]], is_spread)
    except _Unreadable as error:
        found = error.__cause__
        if isinstance(found, OSError) and not isinstance(found, FileNotFoundError):
            raise UserError(
                f"{folder}: the rows that {path.name} names cannot be read now: {found.strerror or found}; mend that, "
                "and start again"
            ) from found
        raise UserError(
            f"{folder}: the rows that {path.name} names cannot be read, as a file is missing or broken; restore the "
            "folder, or delete both to start the run anew"
        ) from found
    found = {name: value for name, value in checkpoint.items() if name != ROWS}
    for place, table in tables.items():
        found = _with(found, place, table)
    return found


def _read(folder: Path, places: list[Place], is_spread: bool) -> dict[Place, Tensor]:
    described = {place: _described(folder, place) for place in places}
    tables = {place: _room(table.size, table.properties.dtype, is_spread) for place, table in described.items()}
    named = {_name(place): table for place, table in tables.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # a single process is intended
        try:
            load(named, storage_reader=_Reader(folder), no_dist=not is_spread)
        except CheckpointException as error:  # errors of one rank's own work; those of communication are not wrapped
            failure = _own_failure(error)
            if _is_of_machine(failure):
                raise failure from error
            raise _Unreadable from failure
    return tables


def _described(folder: Path, place: Place) -> TensorStorageMetadata:
    try:
        found = _Reader(folder).read_metadata().state_dict_metadata[_name(place)]
        assert isinstance(found, TensorStorageMetadata)
    except Exception as error:  # a broken pickle may raise anything
        if _is_of_machine(error):
            raise
        raise _Unreadable from error
    return found


class _Unreadable(Exception):
    """Files of rows are missing or broken, or the system does not read them; the cause says which."""


def _own_failure(error: CheckpointException) -> BaseException:
    """Returns the error of this rank, or if it had none, the first one of another rank."""
    failures = {rank: failure for rank, (failure, _) in error.failures.items()}
    rank = dist.get_rank() if dist.is_initialized() else 0
    return failures.get(rank, next(iter(failures.values())))


def _is_of_machine(error: BaseException) -> bool:
    """Returns whether an error is not about files: memory, another rank, or an interruption by the user."""
    is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
    return is_memory or isinstance(error, dist.DistError) or not isinstance(error, Exception)


def _room(size: torch.Size, dtype: torch.dtype, is_spread: bool) -> Tensor:
    if not is_spread:
        return torch.empty(size, dtype=dtype)
    device_type = "cuda" if dist.get_backend() == "nccl" else "cpu"
    mesh = mesh_of_all(device_type, dist.get_world_size())
    return empty_spread(size, dtype=dtype, device_mesh=mesh, placements=[Shard(0)])


def _next_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = [int(folder.name.rpartition("-")[2]) for folder in _numbered(path)]
    return path.with_name(f"{path.stem}.{ROWS}-{max(numbers, default=0) + 1}")


def _numbered(path: Path) -> list[Path]:
    """Returns the row folders beside a checkpoint that this module wrote; folders of other names are left out."""
    own = re.compile(rf"{re.escape(path.stem)}\.{ROWS}-[0-9]+")
    return [folder for folder in path.parent.glob(f"{path.stem}.{ROWS}-*") if own.fullmatch(folder.name)]


def _spread(node: Any, place: Place) -> Iterator[tuple[Place, DTensor]]:
    """Yields every distributed tensor of a nested value, with its place."""
    if isinstance(node, DTensor):
        yield place, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _spread(value, (*place, key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _spread(value, (*place, index))


def _with(node: Any, place: Place, value: Any) -> Any:
    """Returns a nested value with one place replaced; containers on the way are copied, so the original stays."""
    if not place:
        return value
    first, *rest = place
    items = node.items() if isinstance(node, dict) else enumerate(node)
    copied = {key: _with(each, tuple(rest), value) if key == first else each for key, each in items}
    return copied if isinstance(node, dict) else list(copied.values())


def _name(place: Place) -> str:
    return "/".join(map(str, place))


class _Reader(FileSystemReader):
    """Torch's reader, which unpickles a file of metadata; this one accepts only descriptions of tensors from it."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Reads the metadata as torch does."""
        with (Path(self.path) / ".metadata").open("rb") as file:
            found = _DescriptionsAlone(file).load()
        assert isinstance(found, Metadata)
        if found.storage_meta is None:
            found.storage_meta = StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


class _DescriptionsAlone(pickle.Unpickler):
    """An unpickler that knows only the classes of descriptions of tensors."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        """Returns a known class, and refuses any other name.

        Raises:
            UnpicklingError: the name is none of these.
        """
        if (module, name) == ("builtins", "getattr"):
            return _member
        is_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        is_path = module.partition(".")[0] == "pathlib" and name == type(Path()).__name__
        if is_type or is_path or (module, name) in DESCRIPTIONS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no description of a tensor")


def _member(kind: Any, name: str) -> Enum:
    """Returns a member of an enumeration, which early releases of Python 3.11 pickle as an attribute of its class.

    Raises:
        UnpicklingError: the attribute is of anything but an enumeration.
    """
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise pickle.UnpicklingError(f"{kind!r} is no enumeration")
    return kind[name]
