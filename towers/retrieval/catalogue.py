"""Filters an export's contents by what does not depend on the listener: whether they are withdrawn, their kind, the
mark `explicit`, and their release."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from towers.contract import schema
from towers.errors import UserError

KEPT = 64
"""Masks that are kept, of a byte a content; those of the rest are made again."""

Kinds = tuple[str, ...]


class Catalogue:
    """The contents of one version, as filters see them.

    Args:
        kinds: `[contents]`, index into `schema.KINDS`.
        is_explicit: `[contents]`, false where it is not known.
        released: `[contents]`, days (`datetime64[D]`); not a time where unknown, which counts as released.
        is_withdrawn: `[contents]`, whether it stands in histories alone, so that it passes nowhere; null: none does.
    """

    def __init__(
        self,
        kinds: Integer[np.ndarray, " contents"],
        is_explicit: Bool[np.ndarray, " contents"],
        released: Shaped[np.ndarray, " contents"],
        is_withdrawn: Bool[np.ndarray, " contents"] | None = None,
    ):
        kinds = kinds if is_withdrawn is None else np.where(is_withdrawn, -1, kinds)
        # Of functions and not of methods, which would hold on to a version after it has been swapped for the next.
        self.released = released
        self._of_kinds = lru_cache(maxsize=KEPT)(partial(_of_kinds, kinds))
        self._passing = lru_cache(maxsize=KEPT)(partial(_passing, self._of_kinds, is_explicit, released))

    def of_kinds(self, kinds: Sequence[str]) -> Bool[np.ndarray, " contents"]:
        """Which contents that are not withdrawn are of these kinds; kept, so not to be written to. Raises as
        `kinds_in_order`."""
        return self._of_kinds(kinds_in_order(kinds))

    def passing(self, kinds: Kinds, explicit: bool, released_by: date | None) -> Bool[np.ndarray, " contents"]:
        """Which contents pass; kept, so not to be written to.

        Args:
            kinds: as `kinds_in_order` gives them.
            explicit: whether those that are marked so pass.
            released_by: the last day of release that passes; null: any.
        """
        return self._passing(kinds, explicit, released_by)


def kinds_in_order(kinds: str | Sequence[str]) -> Kinds:
    """Kinds in the contract's order, without repeats; a text is one kind.

    Raises:
        UserError: an unknown kind, or none.
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
        passing = passing & ~(released > np.datetime64(released_by, "D"))  # no comparison with an unknown day holds
    return _read_only(passing)


def _read_only(mask: np.ndarray) -> np.ndarray:
    mask.flags.writeable = False
    return mask
