"""Statistics that are compared between real and simulated plays, each with its limit and its measure of difference.

A statistic counts plays, sessions or gaps of each listener in cells, and turns the summed counts of listeners into a
curve; a difference is a distance between two curves. So any weighting of listeners gives a figure, and draws of
listeners give an interval.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from towers.simulation.checks.heard import Heard

Cells = tuple[Int[np.ndarray, " observations"], Int[np.ndarray, " observations"]]
"""Observations of a statistic: row of the listener and cell of each."""


@runtime_checkable  # for the tests, which check annotations at run time
class Statistic(Protocol):
    """A figure or a curve of the plays of a period."""

    @property
    def name(self) -> str:
        """Name of the limit, of letters, digits and `_`."""
        ...

    @property
    def title(self) -> str:
        """Short title for display."""
        ...

    @property
    def words(self) -> str:
        """Description of what is counted, in a sentence."""
        ...

    @property
    def told(self) -> str:
        """Unit of the difference."""
        ...

    @property
    def limit(self) -> float:
        """Largest difference that passes."""
        ...

    @property
    def is_pooled(self) -> bool:
        """True if plays of all members of an ensemble are counted together; otherwise their curves are averaged."""
        ...

    def labels(self) -> tuple[str, ...]:
        """Returns a label for each bin of the curve."""
        ...

    def counts(self, heard: Heard) -> Any:
        """Returns counts by listener and cell, a sparse matrix `[listeners, cells]`."""
        ...

    def curve(self, counts: Float[np.ndarray, "draws cells"]) -> Float[np.ndarray, "draws bins"]:
        """Returns the curve of summed counts for each draw; NaN where there is nothing to count."""
        ...

    def weights(self, counts: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " bins"]:
        """Returns the weight of each bin from the real counts; 0 for a bin too small for the limit to apply."""
        ...

    def distance(
        self,
        real: Float[np.ndarray, "draws bins"],
        simulated: Float[np.ndarray, "draws bins"],
        weights: Float[np.ndarray, " bins"],
    ) -> Float[np.ndarray, " draws"]:
        """Returns the difference to be held within the limit; signed (simulated - real) for a single bin."""
        ...


def counted(cells: Cells, listeners: int, num_cells: int) -> Any:
    """Returns sparse counts by listener and cell."""
    ones = np.ones(len(cells[0]))
    return sparse.csr_array((ones, (cells[0], cells[1])), shape=(listeners, num_cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of plays or sessions, in bins; the largest difference of all bins must be within the limit.

    Args:
        name: see `Statistic`.
        title: see `Statistic`.
        words: see `Statistic`.
        limit: largest difference, as a share: .02 is 2 points.
        bins: label of each bin.
        observe: returns the listener, the bin, and whether the observation counts for the share.
        fewest: real observations that a bin needs for the limit to apply.
    """

    name: str
    title: str
    words: str
    limit: float
    bins: tuple[str, ...]
    observe: Callable[[Heard], tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]]
    fewest: int = 0
    told: str = "points"
    is_pooled: bool = True

    def labels(self) -> tuple[str, ...]:
        """See `Statistic`."""
        return self.bins

    def counts(self, heard: Heard) -> Any:
        """See `Statistic`; the first half of the cells are the bins' hits, the second their observations."""
        listener, bin_of, is_hit = self.observe(heard)
        cells = np.concatenate([bin_of[is_hit], bin_of + len(self.bins)])
        return counted((np.concatenate([listener[is_hit], listener]), cells), heard.listeners, 2 * len(self.bins))

    def curve(self, counts: Float[np.ndarray, "draws cells"]) -> Float[np.ndarray, "draws bins"]:
        """See `Statistic`."""
        hits, all_ = counts[:, : len(self.bins)], counts[:, len(self.bins) :]
        return np.where(all_ > 0, hits / np.maximum(all_, 1e-12), np.nan)

    def weights(self, counts: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " bins"]:
        """See `Statistic`."""
        observations = counts[len(self.bins) :]
        return np.where(observations >= self.fewest, observations, 0.0)

    def distance(
        self,
        real: Float[np.ndarray, "draws bins"],
        simulated: Float[np.ndarray, "draws bins"],
        weights: Float[np.ndarray, " bins"],
    ) -> Float[np.ndarray, " draws"]:
        """See `Statistic`; a bin that is empty in the simulated plays has no rate, and gives NaN."""
        difference = (simulated - real)[:, weights > 0]
        if difference.shape[1] == 1 and len(self.bins) == 1:
            return difference[:, 0]
        return np.abs(difference).max(axis=1) if difference.shape[1] else np.full(len(real), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The distribution of a number, as shares of its cells.

    Args:
        name: see `Statistic`.
        title: see `Statistic`.
        words: see `Statistic`.
        limit: largest distance, 0 to 1.
        told: Kolmogorov-Smirnov, the largest difference of the shares below a value; or total variation, half the sum
            of the differences of the cells' shares.
        values: label of each cell.
        observe: returns listener and cell.
    """

    name: str
    title: str
    words: str
    limit: float
    told: Literal["KS", "total variation"]
    values: tuple[str, ...]
    observe: Callable[[Heard], Cells]
    is_pooled: bool = True

    def labels(self) -> tuple[str, ...]:
        """See `Statistic`."""
        return self.values

    def counts(self, heard: Heard) -> Any:
        """See `Statistic`."""
        return counted(self.observe(heard), heard.listeners, len(self.values))

    def curve(self, counts: Float[np.ndarray, "draws cells"]) -> Float[np.ndarray, "draws bins"]:
        """See `Statistic`; shares of the cells, or up to each cell where the difference is told as KS."""
        total = counts.sum(axis=1, keepdims=True)
        shares = np.where(total > 0, counts / np.maximum(total, 1e-12), np.nan)
        return np.cumsum(shares, axis=1) if self.told == "KS" else shares

    def weights(self, counts: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " bins"]:
        """See `Statistic`."""
        return np.ones(len(counts))

    def distance(
        self,
        real: Float[np.ndarray, "draws bins"],
        simulated: Float[np.ndarray, "draws bins"],
        weights: Float[np.ndarray, " bins"],
    ) -> Float[np.ndarray, " draws"]:
        """See `Statistic`."""
        difference = np.abs(simulated - real)
        return difference.max(axis=1) if self.told == "KS" else difference.sum(axis=1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Concentration:
    """The Gini coefficient of plays over contents.

    It falls with the number of plays, so it is computed for each member of an ensemble alone.

    Args:
        name: see `Statistic`.
        title: see `Statistic`.
        words: see `Statistic`.
        limit: largest difference of the coefficients.
        could_be_played: whether each content could be played.
    """

    name: str
    title: str
    words: str
    limit: float
    could_be_played: Bool[np.ndarray, " contents"] = field(repr=False)
    told: str = "difference"
    is_pooled: bool = False

    def labels(self) -> tuple[str, ...]:
        """See `Statistic`."""
        return ("all",)

    def counts(self, heard: Heard) -> Any:
        """See `Statistic`."""
        cell = np.cumsum(self.could_be_played) - 1
        counts = self.could_be_played[heard.log.content]
        cells = (heard.log.listener[counts], cell[heard.log.content[counts]])
        return counted(cells, heard.listeners, int(self.could_be_played.sum()))

    def curve(self, counts: Float[np.ndarray, "draws cells"]) -> Float[np.ndarray, "draws bins"]:
        """See `Statistic`."""
        n, total = counts.shape[1], counts.sum(axis=1)
        if not n:
            return np.full((len(counts), 1), np.nan)
        ranked = np.sort(counts, axis=1) @ (2.0 * np.arange(1, n + 1) - n - 1)
        return np.where(total > 0, ranked / np.maximum(n * total, 1e-12), np.nan)[:, None]

    def weights(self, counts: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " bins"]:
        """See `Statistic`."""
        return np.ones(1)

    def distance(
        self,
        real: Float[np.ndarray, "draws bins"],
        simulated: Float[np.ndarray, "draws bins"],
        weights: Float[np.ndarray, " bins"],
    ) -> Float[np.ndarray, " draws"]:
        """See `Statistic`."""
        return (simulated - real)[:, 0]
