"""Vectors of who and what is new to an export, and vectors that a caller brings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What a tower of the export makes of somebody, or of something, that is new to it.

    Args:
        vector: of length 1.
        unknown: what was given and the export does not know, such as `metadata.genres=polka`; it counts for nothing.
    """

    vector: Float[np.ndarray, " dim"]
    unknown: tuple[str, ...] = ()

    @property
    def remark(self) -> str | None:
        """What is unknown, in a line; null where all is known."""
        return f"not known to this export, and left out: {', '.join(self.unknown)}" if self.unknown else None


def unit_vector(values: Sequence[int | float] | np.ndarray, dim: int) -> Float[np.ndarray, " dim"]:
    """A vector that a caller gives, float32 and of length 1: scores are inner products of unit vectors.

    Args:
        values: numbers; any length but 0 will do.
        dim: of the export's vectors. That the numbers are of its space nothing here can tell.

    Raises:
        UserError: not so many numbers, one that is not finite, or all of them 0.
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
        raise UserError("vector: all numbers are 0, which is near to nothing")
    wide = wide / largest  # so that no square is too large or too small for a float
    return (wide / np.linalg.norm(wide)).astype(np.float32)


def read_vector(key: str, path: Path) -> np.ndarray:
    """The numbers of a .npy file.

    Raises:
        UserError: there is no such file, or it is none of NumPy's; names the key.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a file of NumPy (.npy)"
        raise UserError(f"{key}={path}: {reason}") from error
