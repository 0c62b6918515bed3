"""Calibration of lists: whether the shares of classes in a list match those in the listener's history."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.features.calibration import ALPHA, kl_terms
from towers.features.ragged import Ragged


class Calibration:
    """Divergence of a list from its listener's history (Steck 2018, "Calibrated recommendations").

    A content with n classes counts 1/n for each. p(c) is the share of class c in the history, repeats included, q(c)
    its share in the list, with equal weight for all ranks, and q~ = (1 - alpha) q + alpha p. Contents without a class
    are ignored.

    Args:
        histories: contents that each listener played.
        classes: classes of each content, such as genres or kinds.
        alpha: smoothing weight, 0 to 1; keeps the divergence finite, at most `log(1 / alpha)`.
    """

    def __init__(self, histories: Ragged, classes: Ragged, *, alpha: float = ALPHA):
        self._num_contents = len(classes)
        width = 1 + int(classes.values.max(initial=0))
        weights = np.repeat(1 / np.maximum(classes.lengths, 1), classes.lengths)
        self._classes = sparse.csr_array((weights, classes.values, classes.offsets), shape=(self._num_contents, width))
        self._tastes = self._shares(histories)
        self._alpha = alpha

    def divergence(
        self, positions: Int[np.ndarray, " users"], rows: Int[np.ndarray, "users ranks"]
    ) -> Float[np.ndarray, " users"]:
        """Returns KL(p || q~), the sum over classes of p log(p / q~), in nats; 0 if both have the same shares.

        It is NaN if the history or the list has no content with a class.

        Args:
            positions: indices into the histories.
            rows: content rows of the lists; -1 at empty places.
        """
        is_filled = rows >= 0
        offsets = np.concatenate([[0], np.cumsum(is_filled.sum(axis=1))]).astype(np.int64)
        lists = self._shares(Ragged(offsets, rows[is_filled]))
        tastes = self._tastes[positions].tocoo()
        users, classes = tastes.coords
        shares = tastes.data
        terms = kl_terms(shares, lists.toarray()[users, classes], self._alpha)
        divergence = np.bincount(users, weights=terms, minlength=len(rows))
        is_defined = (np.bincount(users, minlength=len(rows)) > 0) & (np.diff(lists.indptr) > 0)
        return np.where(is_defined, divergence, np.nan)

    def _shares(self, contents: Ragged) -> sparse.csr_array:
        """Returns class shares, `[lists, classes]`; each row sums to 1, or is empty."""
        ones = np.ones(len(contents.values))
        shape = (len(contents), self._num_contents)
        counts = sparse.csr_array((ones, contents.values, contents.offsets), shape=shape) @ self._classes
        totals = counts.sum(axis=1)
        return sparse.csr_array(sparse.diags_array(1 / np.where(totals > 0, totals, 1)) @ counts)
