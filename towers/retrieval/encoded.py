"""Vectors of listeners and contents that are new to an export, and vectors that a caller gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The vector of a listener or a content that a tower of the export has encoded.

    Args:
        vector: unit vector.
        unknown: given values that the export does not know, such as `metadata.genres=polka`; they were ignored.
    """

    vector: Float[np.ndarray, " dim"]
    unknown: tuple[str, ...] = ()

    @property
    def remark(self) -> str | None:
        """Message that names the unknown values; null if there are none."""
        return f"unknown to this export, and ignored: {', '.join(self.unknown)}" if self.unknown else None


def unit_vector(values: Sequence[int | float] | np.ndarray, dim: int) -> Float[np.ndarray, " dim"]:
    """Normalizes a caller's vector to a float32 unit vector, because scores are inner products of unit vectors.

    Args:
        values: numbers of the vector; any norm but 0. They must be from the export's space, which is not checked.
        dim: dimension of the export's vectors.

    Raises:
        UserError: the dimension is wrong, a number is not finite, or all of them are 0.
    """
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise UserError(f"vector: must be a list of {dim} numbers") from error
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iuf"):
        raise UserError(f"vector: must be a list of {dim} numbers")
    if len(given) != dim:
        raise UserError(f"vector: {len(given)} numbers, and this export's vectors have {dim}")
    wide = given.astype(np.float64)
    if not np.isfinite(wide).all():
        raise UserError("vector: a number that is not finite")
    largest = np.abs(wide).max(initial=0.0)
    if largest == 0:
        raise UserError("vector: all numbers are 0, which gives no direction to search in")
    wide = wide / largest  # so that no square overflows or underflows
    return (wide / np.linalg.norm(wide)).astype(np.float32)


def read_vector(key: str, path: Path) -> np.ndarray:
    """Reads the array of a .npy file.

    Raises:
        UserError: the file does not exist or is no .npy file; the message names the key.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a file of NumPy (.npy)"
        raise UserError(f"{key}={path}: {reason}") from error
