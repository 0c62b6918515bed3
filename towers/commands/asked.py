"""Keys that `recommend`, `similar` and `embed` read in the same way, and their messages about unknown values."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig

from towers.config.instantiate import value
from towers.config.overrides import raw_list
from towers.errors import UserError
from towers.retrieval.asker import Vector, rows_of
from towers.retrieval.encoded import Encoded, read_vector
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import Audio

VECTOR_FILE = ".npy"


def history_of(config: DictConfig, export: Export) -> list[Any] | None:
    """Reads `history`: ids of the export, or events as they were given; null without one."""
    given = config.history
    if isinstance(given, ListConfig) and any(isinstance(one, Mapping) for one in given):
        return value(config, "history", list[Any])
    names = raw_list("history", given)
    return None if names is None else [export.content_ids[row] for row in listed(export, "history", names)]


def mapping_of(config: DictConfig, key: str) -> dict[str, Any] | None:
    """Reads `features` or `metadata`: values by column."""
    return value(config, key, dict[str, Any] | None)


def vector_of(config: DictConfig) -> Vector | None:
    """Reads `vector`: numbers, or those of a .npy file."""
    given = value(config, "vector", list[float] | str | None)
    return read_vector("vector", Path(given)) if isinstance(given, str) else given


def sound_of(config: DictConfig) -> Audio:
    """Reads `audio`: an audio file, or the numbers of a .npy file."""
    given = value(config, "audio", str | None)
    if given is None:
        return None
    return read_vector("audio", Path(given)) if given.lower().endswith(VECTOR_FILE) else Path(given)


def listed(export: Export, key: str, names: list[str]) -> np.ndarray:
    """Returns the rows of ids or titles; for an unknown one, the error says how to quote a title with a comma."""
    try:
        return rows_of(export, key, names)
    except UserError as error:
        advice = "; one with a comma goes into quotes: ['A, B',C]" if len(names) > 1 else ""
        raise UserError(f"{error}{advice}") from error


def told(encoded: Encoded) -> np.ndarray:
    """Returns the vector; what the export does not know of the input is reported on standard error."""
    if encoded.remark:
        print(f"towers: {encoded.remark}", file=sys.stderr)
    return encoded.vector
