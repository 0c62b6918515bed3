"""Rules of a list, the candidates that it is chosen from, and the choice."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.retrieval.query import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules that every list keeps.

    Args:
        k: largest number of contents, at least 1.
        max_per_artist: largest number of contents of one artist, at least 1; a content of several artists counts for
            each. Null: no limit.
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
    """Bounds on the number of contents of a kind in a list.

    Args:
        name: the kind, in words that follow "contents": "of artists never heard".
        mask: `[candidates]`, which candidates are of the kind, in the order of `Candidates.rows`.
        least: number of places for it, as far as there are enough contents.
        most: largest number of places for it, which always holds; null: no limit.
        share: least share of the final list, 0 to 1; the list is made shorter where necessary.
    """

    name: str
    mask: Bool[np.ndarray, " candidates"]
    least: int = 0
    most: int | None = None
    share: int | float = 0.0

    def least_of(self, length: int) -> int:
        """Returns the least number of places in a list of the given length."""
        return max(self.least, int(np.ceil(self.share * length - 1e-9)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """Candidates of a list, best first.

    Args:
        rows: rows of the contents table, all different.
        utility: how well each candidate fits; finite, descending; ties in ascending order of rows.
        artists: artist codes of each candidate.
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
        """Returns sorted candidates from candidates in any order, with artists and recordings given for all contents.

        Args:
            rows: rows of the contents table, all different.
            utility: utility of each, finite.
            artists: artist codes of all contents (`ContentFacts.artists`).
            recordings: for all contents, the row of the first of the same recording; null: each is a recording of its
                own.
        """
        order = np.lexsort((rows, -utility))
        best = rows[order].astype(np.int64)
        heard_in = best if recordings is None else recordings[best]
        return cls(rows=best, utility=utility[order], artists=artists.take(best).unique(), recordings=heard_in)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: Int[np.ndarray, " some"]) -> "Candidates":
        """Returns the candidates at some places, which are ascending."""
        return Candidates(
            rows=self.rows[places],
            utility=self.utility[places],
            artists=self.artists.take(places),
            recordings=self.recordings[places],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picked:
    """The contents chosen for a list.

    Args:
        places: places among the candidates, ascending, so the best is first.
        remark: which places and quotas could not be filled; empty where all could.
    """

    places: Int[np.ndarray, " picks"]
    remark: str = ""


def dial(familiar: int | float, is_heard: Bool[np.ndarray, " candidates"], k: int) -> tuple[Quota, ...]:
    """Returns `familiar` as quotas: the same number of heard contents as `Query` asks for.

    It is exact where there are enough contents of both sides; between 0 and 1 each side fills what the other lacks. A
    larger `familiar` never gives fewer heard contents: the number of missed places on both sides is convex in it.

    Args:
        familiar: share of the list that the listener has heard: at 0 all contents are new, at 1 none is.
        is_heard: which candidates the listener has heard.
        k: length of the list.

    Raises:
        UserError: `familiar` is outside 0 to 1.
    """
    heard = Query(k=k, familiar=familiar).num_familiar
    return (
        Quota(name="heard before", mask=is_heard, least=heard, most=0 if familiar == 0 else None),
        Quota(name="never heard", mask=~is_heard, least=k - heard, most=0 if familiar == 1 else None),
    )
