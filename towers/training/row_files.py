"""Tables that are divided among ranks, on disk: every rank writes its own rows, and any number of ranks reads them.

`torch.distributed.checkpoint` does both. What is here keeps its habits of a run's checkpoints: a kill leaves the state
before or the new one, and nothing that is read may run code.

Beside `last.ckpt` stands a folder `last.rows-N`. It is there as a whole before the file that names it takes the place
of the one before, whose folder goes last.
"""

import os
import pickle
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor import empty as empty_spread

from towers.errors import UserError
from towers.models.rows import mesh_of_all

ROWS = "rows"
"""Names in a checkpoint what stands in the folder beside it."""

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
"""What torch's description of a folder of rows is made of, by module and name."""

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value in a checkpoint."""


def take_rows(checkpoint: dict[str, Any]) -> tuple[dict[str, Any], dict[Place, DTensor]]:
    """A checkpoint without the tables that are spread over ranks, and these; both share what is not changed."""
    rows = dict(_spread(checkpoint, ()))
    found = checkpoint
    for place in rows:
        found = _with(found, place, None)
    return found, rows


def write_rows(path: Path, rows: dict[Place, DTensor]) -> dict[str, Any]:
    """Writes tables beside a checkpoint that is about to be written; all ranks call.

    Args:
        path: of the checkpoint.
        rows: by their places in it.

    Returns:
        What the checkpoint says of them, under `ROWS`.
    """
    box = [_next_folder(path).name, os.getpid()]
    dist.broadcast_object_list(box, 0)
    folder = path.with_name(str(box[0]))
    temporary = folder.with_name(f".{folder.name}.{box[1]}.partial")
    named = {_name(place): tensor for place, tensor in rows.items()}
    save(named, storage_writer=FileSystemWriter(temporary))
    if dist.get_rank() == 0:  # all have written, and the folder says so
        temporary.rename(folder)
    return {"folder": folder.name, "places": [list(place) for place in rows]}


def drop_rows(path: Path, kept: str | None) -> None:
    """Removes what earlier checkpoints, and writes that were cut off, have left beside one that stands.

    Args:
        path: of the checkpoint.
        kept: the folder that it names; null: none.
    """
    for folder in path.parent.glob(f"{path.stem}.{ROWS}-*"):
        if folder.name != kept:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in path.parent.glob(f".{path.stem}.{ROWS}-*.partial"):
        shutil.rmtree(folder, ignore_errors=True)  # one training at a time writes there


def with_rows(path: Path, checkpoint: dict[str, Any], is_spread: bool) -> dict[str, Any]:
    """A checkpoint with the tables that stand beside it.

    Args:
        path: of the checkpoint.
        checkpoint: as it stands there.
        is_spread: whether each rank reads its own rows; all call then. Else this process reads all rows.

    Raises:
        UserError: the folder is gone, or cannot be read.
    """
    told = checkpoint.get(ROWS)
    if told is None:
        return checkpoint
    folder = path.with_name(told["folder"])
    try:
        tables = _read(folder, [tuple(place) for place in told["places"]], is_spread)
    except Exception as error:  # torch raises whatever its reader met
        raise UserError(
            f"{folder}: the rows that {path.name} names cannot be read; restore the folder, or delete both to start "
            "the run anew"
        ) from error
    found = {name: value for name, value in checkpoint.items() if name != ROWS}
    for place, table in tables.items():
        found = _with(found, place, table)
    return found


def _read(folder: Path, places: list[Place], is_spread: bool) -> dict[Place, Tensor]:
    reader = _Reader(folder)
    told = reader.read_metadata().state_dict_metadata
    tables = {}
    for place in places:
        table = told[_name(place)]
        assert isinstance(table, TensorStorageMetadata)
        tables[place] = _room(table.size, table.properties.dtype, is_spread)
    named = {_name(place): table for place, table in tables.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # it is not asked to
        load(named, storage_reader=_Reader(folder), no_dist=not is_spread)
    return tables


def _room(size: torch.Size, dtype: torch.dtype, is_spread: bool) -> Tensor:
    if not is_spread:
        return torch.empty(size, dtype=dtype)
    device_type = "cuda" if dist.get_backend() == "nccl" else "cpu"
    mesh = mesh_of_all(device_type, dist.get_world_size())
    return empty_spread(size, dtype=dtype, device_mesh=mesh, placements=[Shard(0)])


def _next_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = [int(folder.name.rpartition("-")[2]) for folder in path.parent.glob(f"{path.stem}.{ROWS}-*")]
    return path.with_name(f"{path.stem}.{ROWS}-{max(numbers, default=0) + 1}")


def _spread(node: Any, place: Place) -> Iterator[tuple[Place, DTensor]]:
    """Every distributed tensor of a nested value, with its place."""
    if isinstance(node, DTensor):
        yield place, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _spread(value, (*place, key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _spread(value, (*place, index))


def _with(node: Any, place: Place, value: Any) -> Any:
    """A nested value with another one in a place; what lies on the way is copied, so that nobody's state changes."""
    if not place:
        return value
    first, *rest = place
    items = node.items() if isinstance(node, dict) else enumerate(node)
    copied = {key: _with(each, tuple(rest), value) if key == first else each for key, each in items}
    return copied if isinstance(node, dict) else list(copied.values())


def _name(place: Place) -> str:
    return "/".join(map(str, place))


class _Reader(FileSystemReader):
    """Torch's own, which reads a pickle where files stand: this one takes from it only what describes tensors."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """As torch's."""
        with (Path(self.path) / ".metadata").open("rb") as file:
            found = _DescriptionsAlone(file).load()
        assert isinstance(found, Metadata)
        if found.storage_meta is None:
            found.storage_meta = StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


class _DescriptionsAlone(pickle.Unpickler):
    """Knows no callables but those that descriptions of tensors are made of."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        """Refuses any other name.

        Raises:
            UnpicklingError: it is none of these.
        """
        is_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        is_path = module.partition(".")[0] == "pathlib" and name == type(Path()).__name__
        if is_type or is_path or (module, name) in DESCRIPTIONS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no description of a tensor")
