"""What a target competes with: draws candidates and says how probable each was to be drawn.

Candidates are a set, each content at most once. `log_q` is the logarithm of the probability that a content is in the
set; dividing a candidate's exponential by it makes the sum over the set an unbiased estimate of the sum over the whole
catalogue (Horvitz and Thompson 1952), which is what the logQ correction (Yi et al. 2019, "Sampling-bias-corrected
neural modeling") is for.
"""

import numpy as np
from jaxtyping import Float, Int


class AllTrained:
    """Every content that training has seen: the exact softmax, for catalogues that allow it.

    Args:
        train_positives: `[contents]`, positive events of each content in the training period.
    """

    def __init__(self, train_positives: Int[np.ndarray, " contents"]):
        self._rows = np.flatnonzero(train_positives > 0)

    def sample(
        self, target_rows: Int[np.ndarray, " targets"], generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """All of them, always: log_q is 0."""
        return self._rows, np.zeros(len(self._rows), np.float32)


class InBatchAndUniform:
    """The other targets of the batch, and contents drawn uniformly (mixed negative sampling, Yang et al. 2020).

    In-batch negatives come by popularity, so popular contents learn against each other; uniform ones keep the long
    tail from being forgotten. A content is in the set unless every draw of both kinds missed it, so

        q = 1 - (1 - share of positives) ** batch targets * (1 - 1 / trained contents) ** num_uniform.

    Args:
        train_positives: `[contents]`, positive events of each content in the training period.
        num_uniform: contents drawn uniformly, with replacement, for a batch.
        in_batch: whether the batch's targets compete with each other.
    """

    def __init__(self, train_positives: Int[np.ndarray, " contents"], num_uniform: int, in_batch: bool):
        self._rows = np.flatnonzero(train_positives > 0)
        self._share = train_positives / max(int(train_positives.sum()), 1)
        self._num_uniform = num_uniform
        self.in_batch = in_batch

    def sample(
        self, target_rows: Int[np.ndarray, " targets"], generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """The set, sorted by row, and the logarithm of each content's probability to be in it."""
        drawn = self._rows[generator.integers(0, len(self._rows), self._num_uniform)]
        rows = np.unique(np.concatenate([drawn, target_rows])) if self.in_batch else np.unique(drawn)
        return rows, self.log_q(rows, len(target_rows)).astype(np.float32)

    def log_q(self, rows: Int[np.ndarray, " candidates"], num_targets: int) -> Float[np.ndarray, " candidates"]:
        """Logarithm of the probability that each of `rows` is in the set of a batch of `num_targets` targets."""
        log_missed = self._num_uniform * np.log1p(-1 / len(self._rows)) if len(self._rows) > 1 else -np.inf
        if self.in_batch:
            log_missed = log_missed + num_targets * np.log1p(-np.minimum(self._share[rows], 1 - 1e-12))
        return np.log(-np.expm1(np.broadcast_to(log_missed, rows.shape)))
