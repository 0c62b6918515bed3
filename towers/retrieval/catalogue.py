"""Filters of an export's contents that do not depend on the listener: withdrawal, kind, explicitness, release date."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from towers.contract import schema
from towers.errors import UserError

KEPT = 64
"""Number of masks in a cache; a mask has a byte per content, and the least recently used is dropped."""

Kinds = tuple[str, ...]


class Catalogue:
    """Properties of one version's contents by which queries filter.

    Args:
        kinds: `[contents]`, indices into `schema.KINDS`.
        is_explicit: `[contents]`, whether each is explicit; false where unknown.
        released: `[contents]`, release dates (`datetime64[D]`); NaT where unknown, which counts as released.
        is_withdrawn: `[contents]`, whether each is withdrawn and therefore passes no filter; null: none is.
    """

    def __init__(
        self,
        kinds: Integer[np.ndarray, " contents"],
        is_explicit: Bool[np.ndarray, " contents"],
        released: Shaped[np.ndarray, " contents"],
        is_withdrawn: Bool[np.ndarray, " contents"] | None = None,
    ):
        kinds = kinds if is_withdrawn is None else np.where(is_withdrawn, -1, kinds)
        # The caches wrap functions: a cached method would keep an old version alive after the switch to the next.
        self.released = released
        self._of_kinds = lru_cache(maxsize=KEPT)(partial(_of_kinds, kinds))
        self._passing = lru_cache(maxsize=KEPT)(partial(_passing, self._of_kinds, is_explicit, released))

    def of_kinds(self, kinds: Sequence[str]) -> Bool[np.ndarray, " contents"]:
        """Returns a mask of the contents of these kinds that are not withdrawn. The mask is cached and read-only.

        Raises what `kinds_in_order` raises."""
        return self._of_kinds(kinds_in_order(kinds))

    def passing(self, kinds: Kinds, explicit: bool, released_by: date | None) -> Bool[np.ndarray, " contents"]:
        """Returns a mask of the contents that pass. The mask is cached and read-only.

        Args:
            kinds: kinds that pass, in the order of `kinds_in_order`.
            explicit: whether explicit contents pass.
            released_by: latest release date that passes; null: any.
        """
        return self._passing(kinds, explicit, released_by)


def kinds_in_order(kinds: str | Sequence[str]) -> Kinds:
    """Returns kinds in the contract's order, without repeats; text stands for one kind.

    Raises:
        UserError: a kind is unknown, or none is given.
    """
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    unknown = [kind for kind in kinds if kind not in schema.KIND_CODES]
    if unknown:
        raise UserError(f"kind={unknown[0]}: no such kind; there are {', '.join(schema.KINDS)}")
    if not kinds:
        raise UserError(f"kind: give at least one; there are {', '.join(schema.KINDS)}")
    return tuple(kind for kind in schema.KINDS if kind in kinds)


def _of_kinds(codes: np.ndarray, kinds: Kinds) -> np.ndarray:
    return _read_only(np.isin(codes, [schema.KIND_CODES[kind] for kind in kinds]))


def _passing(
    of_kinds: Callable[[Kinds], np.ndarray],
    is_explicit: np.ndarray,
    released: np.ndarray,
    kinds: Kinds,
    explicit: bool,
    released_by: date | None,
) -> np.ndarray:
    passing = of_kinds(kinds)
    if not explicit:
        passing = passing & ~is_explicit
    if released_by is not None:
        passing = passing & ~(released > np.datetime64(released_by, "D"))  # false for an unknown date
    return _read_only(passing)


def _read_only(mask: np.ndarray) -> np.ndarray:
    mask.flags.writeable = False
    return mask
