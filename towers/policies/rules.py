"""What the rules of a list are, what it is chosen from, and what was chosen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.retrieval.query import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every list.

    Args:
        k: at most so many contents, at least 1.
        max_per_artist: at most so many of one artist, at least 1; a content of several artists counts for each, one of
            none for none. Null: as many as come.
    """

    k: int = 30
    max_per_artist: int | None = 2

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k={self.k}: must be at least 1")
        if self.max_per_artist is not None and self.max_per_artist < 1:
            raise UserError(f"max_per_artist={self.max_per_artist}: must be at least 1, or null for no limit")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quota:
    """How many contents of a kind a list holds.

    Args:
        name: the kind, in words that go on from "contents": "of artists never heard".
        mask: `[candidates]`, which candidates are of it, in the order of `Candidates.rows`.
        least: places that it gets, as far as there are enough.
        most: places that it gets at most, always; null: no limit.
        share: least share of the list, however long that turns out, 0 to 1; the list is shorter where it must.
    """

    name: str
    mask: Bool[np.ndarray, " candidates"]
    least: int = 0
    most: int | None = None
    share: int | float = 0.0

    def least_of(self, length: int) -> int:
        """Places that it gets of a list of that length."""
        return max(self.least, int(np.ceil(self.share * length - 1e-9)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """What a list is chosen from, the best first.

    Args:
        rows: of the contents table, all different.
        utility: how well each fits; finite, falling; of equal ones the smaller row is first.
        artists: codes of each one's artists.
        recordings: a number that contents of the same recording share.
    """

    rows: Int[np.ndarray, " candidates"]
    utility: Float[np.ndarray, " candidates"]
    artists: Ragged
    recordings: Integer[np.ndarray, " candidates"]

    @classmethod
    def of(
        cls,
        rows: Integer[np.ndarray, " candidates"],
        utility: Float[np.ndarray, " candidates"],
        artists: Ragged,
        recordings: Integer[np.ndarray, " contents"] | None = None,
    ) -> "Candidates":
        """Candidates in any order, of contents whose artists and recordings are known by row.

        Args:
            rows: of the contents table, all different.
            utility: of each, finite.
            artists: of all contents (`ContentFacts.artists`).
            recordings: of all contents, the row of the first of the same recording; null: each is its own.
        """
        order = np.lexsort((rows, -utility))
        best = rows[order].astype(np.int64)
        heard_in = best if recordings is None else recordings[best]
        return cls(rows=best, utility=utility[order], artists=artists.take(best).unique(), recordings=heard_in)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: Int[np.ndarray, " some"]) -> "Candidates":
        """Those at some places, which rise."""
        return Candidates(
            rows=self.rows[places],
            utility=self.utility[places],
            artists=self.artists.take(places),
            recordings=self.recordings[places],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picked:
    """What a list holds.

    Args:
        places: of the candidates, rising, so the best is first.
        remark: which places and quotas could not be filled; empty where all could.
    """

    places: Int[np.ndarray, " picks"]
    remark: str = ""


def dial(familiar: int | float, is_heard: Bool[np.ndarray, " candidates"], k: int) -> tuple[Quota, ...]:
    """`familiar` as quotas: the same number of heard contents as `Query` asks for.

    Exact wherever there are enough contents of both sides; between 0 and 1 the other side fills what one lacks. A
    larger `familiar` never gives fewer heard contents: places that are missed on both sides together are convex in it.

    Args:
        familiar: share of the list that the listener has heard: at 0 all is new, at 1 nothing.
        is_heard: of the candidates.
        k: length of the list.

    Raises:
        UserError: `familiar` outside 0 to 1.
    """
    heard = Query(k=k, familiar=familiar).num_familiar
    return (
        Quota(name="heard before", mask=is_heard, least=heard, most=0 if familiar == 0 else None),
        Quota(name="never heard", mask=~is_heard, least=k - heard, most=0 if familiar == 1 else None),
    )
