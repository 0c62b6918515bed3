"""Candidate samplers: contents that a target competes with, with the probability that each was drawn.

Candidates are a set, each content at most once. `log_q` is the logarithm of the probability that a content is in the
set; dividing a candidate's exponential by it makes the sum over the set an unbiased estimate of the sum over the whole
catalogue (Horvitz and Thompson 1952), which is what the logQ correction (Yi et al. 2019, "Sampling-bias-corrected
neural modeling") is for. Apart from the logarithm, no draw takes time that grows with the catalogue.
"""

import numpy as np
from jaxtyping import Float, Int


class AllTrained:
    """All contents with positive events in training: the exact softmax, for catalogues that allow it.

    Args:
        train_positives: `[contents]`, positive events of each content in the training period.
    """

    def __init__(self, train_positives: Int[np.ndarray, " contents"]):
        self._rows = np.flatnonzero(train_positives > 0)

    def sample(
        self, target_rows: Int[np.ndarray, " targets"], generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """Returns all rows, always the same, with log_q 0."""
        return self._rows, np.zeros(len(self._rows), np.float32)


class Uniform:
    """Contents drawn uniformly without replacement, shared by all targets of a batch.

    A set of k out of n contents holds each with probability k / n.

    Args:
        train_positives: `[contents]`, positive events of each content in the training period.
        num_negatives: number of contents drawn for a batch; all of them where there are fewer.
    """

    def __init__(self, train_positives: Int[np.ndarray, " contents"], num_negatives: int):
        if num_negatives < 1:
            raise ValueError(f"num_negatives must be at least 1, got {num_negatives}")
        self._rows = np.flatnonzero(train_positives > 0)
        self.num_contents = len(self._rows)
        self.num_drawn = min(num_negatives, self.num_contents)

    def sample(
        self, target_rows: Int[np.ndarray, " targets"], generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """Returns the set, sorted by row, and the log-probability of each content to be in it."""
        drawn = np.sort(generator.choice(self.num_contents, self.num_drawn, replace=False, shuffle=False))
        log_q = np.log(self.num_drawn / self.num_contents) if self.num_contents else 0.0
        return self._rows[drawn], np.full(self.num_drawn, log_q, np.float32)


class Popularity:
    """Contents drawn by a power of their number of positive events, shared by all targets of a batch.

    Draws are with replacement and form a set, so with shares p = count ** exponent / sum

        q = 1 - (1 - p) ** num_negatives.

    Relations: exponent 0 is close to `Uniform`; exponent 1 is like `InBatchAndUniform` with only in-batch negatives,
    but independent of the batch's targets.

    Args:
        train_positives: `[contents]`, positive events of each content in the training period.
        num_negatives: number of draws for a batch; the set has fewer contents where some are drawn twice.
        exponent: exponent of the counts, 0 or more; word2vec uses .75 (Mikolov et al. 2013).
    """

    def __init__(self, train_positives: Int[np.ndarray, " contents"], num_negatives: int, exponent: float):
        if num_negatives < 1 or not exponent >= 0:
            raise ValueError(
                f"num_negatives must be at least 1 and exponent 0 or more, got {num_negatives} and {exponent}"
            )
        self._rows = np.flatnonzero(train_positives > 0)
        mass = train_positives[self._rows].astype(np.float64) ** exponent
        self._share = mass / mass.sum()
        self._upper = np.cumsum(self._share)
        self._num_negatives = num_negatives

    def sample(
        self, target_rows: Int[np.ndarray, " targets"], generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """Returns the set, sorted by row, and the log-probability of each content to be in it."""
        points = generator.random(self._num_negatives) * self._upper[-1]
        places = _unique(np.searchsorted(self._upper, points, side="right"))
        log_missed = self._num_negatives * _log_other(self._share[places])
        return self._rows[places], np.log(-np.expm1(log_missed)).astype(np.float32)


class InBatchAndUniform:
    """The batch's targets, and contents drawn uniformly (mixed negative sampling, Yang et al. 2020).

    In-batch negatives come by popularity, so popular contents learn against each other; uniform ones keep the long
    tail from being forgotten. A content is in the set unless every draw of both kinds missed it, so

        q = 1 - (1 - share of positives) ** batch targets * (1 - 1 / trained contents) ** num_uniform.

    Of a batch with more than `max_in_batch` targets only so many, drawn evenly, compete; their number then replaces
    "batch targets", as they too are draws by popularity.

    Args:
        train_positives: `[contents]`, positive events of each content in the training period.
        num_uniform: number of contents drawn uniformly, with replacement, for a batch.
        in_batch: whether the batch's targets compete with each other.
        max_in_batch: maximum number of targets that compete; null: all.
    """

    def __init__(
        self,
        train_positives: Int[np.ndarray, " contents"],
        num_uniform: int,
        in_batch: bool,
        max_in_batch: int | None = None,
    ):
        if num_uniform < 0 or not (num_uniform or in_batch):
            raise ValueError(
                f"num_uniform={num_uniform}, in_batch={in_batch}: no candidates; "
                "set num_uniform to 1 or more, or in_batch=true"
            )
        if max_in_batch is not None and (max_in_batch < 1 or not in_batch):
            raise ValueError(
                f"max_in_batch={max_in_batch}: must be at least 1, with in_batch=true, or null for all targets"
            )
        self._rows = np.flatnonzero(train_positives > 0)
        self._share = train_positives / max(int(train_positives.sum()), 1)
        self._num_uniform = num_uniform
        self.in_batch = in_batch
        self.max_in_batch = max_in_batch

    @property
    def log_missed_by_uniform(self) -> float:
        """Log-probability that no uniform draw hits a given content."""
        if not self._num_uniform:
            return 0.0
        return self._num_uniform * float(np.log1p(-1 / len(self._rows))) if len(self._rows) > 1 else -np.inf

    def sample(
        self, target_rows: Int[np.ndarray, " targets"], generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """Returns the set, sorted by row, and the log-probability of each content to be in it."""
        drawn = self._rows[generator.integers(0, len(self._rows), self._num_uniform)]
        if self.max_in_batch is not None and len(target_rows) > self.max_in_batch:
            target_rows = generator.choice(target_rows, self.max_in_batch, replace=False, shuffle=False)
        rows = _unique(np.concatenate([drawn, target_rows]) if self.in_batch else drawn)
        return rows, self.log_q(rows, len(target_rows)).astype(np.float32)

    def log_q(self, rows: Int[np.ndarray, " candidates"], num_targets: int) -> Float[np.ndarray, " candidates"]:
        """Returns the log-probability that each of `rows` is in the set where `num_targets` targets compete."""
        log_missed = np.full(rows.shape, self.log_missed_by_uniform)
        if self.in_batch:
            log_missed += num_targets * _log_other(self._share[rows])
        return np.log(-np.expm1(log_missed))


def _log_other(share: Float[np.ndarray, " contents"]) -> Float[np.ndarray, " contents"]:
    """Returns the log-probability that one draw is another content; finite even where there is no other."""
    return np.log1p(-np.minimum(share, 1 - 1e-12))


def _unique(rows: Int[np.ndarray, " draws"]) -> Int[np.ndarray, " contents"]:
    """Returns the distinct rows, sorted. `np.unique` hashes before it sorts, which takes several times as long."""
    rows = np.sort(rows)
    return rows[np.diff(rows, prepend=rows[:1] - 1) > 0]
