"""What any model has to beat. Each is a `Ranker` over an `EvaluationTask`.

Those that learn from other listeners (`ItemKNN`, `EASE`) also take the training histories: one list of content rows per
listener of the store before the cut, whether or not the listener has a target. They see only whether a content
was heard, not how often. Scores are float32 unless stated otherwise.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg, sparse

from towers.errors import UserError
from towers.evaluation.ranking import top_k
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

_BLOCK = 512
"""Rows of a contents x contents matrix that are dense at a time."""


class Random:
    """Uniform scores, the same for a listener whoever else is scored: the floor.

    Args:
        task: what is to be ranked for whom.
        seed: not negative; together with the listener's row it decides the scores.
    """

    name = "random"

    def __init__(self, task: EvaluationTask, *, seed: int = 0):
        self._task = task
        self._seed = seed

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Between 0 and 1."""
        scores = np.empty((len(positions), self._task.num_contents), dtype=np.float32)
        for row, user_row in zip(scores, self._task.user_rows[positions], strict=True):
            np.random.default_rng((self._seed, int(user_row))).random(dtype=np.float32, out=row)
        return scores


class Popularity:
    """What is played most in the training period, for everybody alike."""

    name = "popularity"

    def __init__(self, task: EvaluationTask):
        self._scores = _dense_rank(task.train_counts)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """The rank of each content by training plays, the same rank for the same number."""
        return np.broadcast_to(self._scores, (len(positions), len(self._scores)))


class Recency:
    """What is played most in the last part of the history, for everybody alike; ties by popularity."""

    name = "recency"

    def __init__(self, task: EvaluationTask):
        self._scores = _dense_rank(task.recent_counts, task.train_counts)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """The rank of each content by recent plays, then training plays; the same for the same numbers."""
        return np.broadcast_to(self._scores, (len(positions), len(self._scores)))


class OwnMostPlayed:
    """What the listener has heard most often; ties, and what was never heard, by popularity."""

    name = "own most-played"

    def __init__(self, task: EvaluationTask):
        self._task = task
        popularity = _dense_rank(task.train_counts).astype(np.float64)
        self._below_one = popularity / (popularity.max(initial=0.0) + 1.0)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """The number of plays, plus less than 1 for popularity; float64, which holds both exactly."""
        histories = self._task.histories.take(positions)
        scores = np.tile(self._below_one, (len(positions), 1))
        np.add.at(scores, (histories.list_of_value, histories.values), 1.0)
        return scores


class ItemKNN:
    """Contents heard by the same listeners as what this listener heard.

    A content's score is the sum, over the contents heard, of their cosine with it, where only its nearest
    `neighbours` count for each content heard (Deshpande and Karypis 2004, "Item-based top-N recommendation
    algorithms"). No content is its own neighbour.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        neighbours: at least 1; what is not among the nearest counts 0. Memory is
            `8 * contents * neighbours` bytes.

    Raises:
        ValueError: `neighbours` below 1.
    """

    name = "item-kNN"

    def __init__(self, task: EvaluationTask, histories: Ragged, *, neighbours: int = 200):
        if neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {neighbours}")
        self._task = task
        self._similarities = _cosine_neighbours(_heard(histories, task.num_contents), task.num_contents, neighbours)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Not negative; 0 for a listener without a history."""
        heard = _heard(self._task.histories.take(positions), self._task.num_contents)
        return sparse.csr_array(heard @ self._similarities).toarray()


class EASE:
    """The linear autoencoder with a zero diagonal, in closed form (Steck 2019, "Embarrassingly shallow autoencoders").

    With the gram matrix G of the binary histories and P = (G + l2 I)^-1, the weights are B = I - P / diag(P)
    (equation 8); a listener's scores are the sum of the rows of B of what they heard.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        l2: above 0, in co-listeners; more for sparser data (Steck finds 200 to 1,000).
        max_contents: memory is `8 * contents ** 2` bytes, time grows with the cube; the default takes 3.2 GB.

    Raises:
        UserError: the store has more than `max_contents` contents.
        ValueError: `l2` is not above 0.
    """

    name = "EASE"

    def __init__(self, task: EvaluationTask, histories: Ragged, *, l2: float = 200.0, max_contents: int = 20_000):
        if task.num_contents > max_contents:
            raise UserError(
                f"the EASE baseline inverts a contents x contents matrix: {task.num_contents:,} contents are "
                f"more than max_contents={max_contents:,}; leave it out, or raise max_contents if "
                f"{8 * task.num_contents**2 / 1e9:,.1f} GB of memory are to spare"
            )
        if not l2 > 0:
            raise ValueError(f"l2 must be above 0, got {l2}")
        self._task = task
        self._weights = _ease_weights(_heard(histories, task.num_contents), task.num_contents, l2)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Of either sign; 0 for a listener without a history."""
        heard = _heard(self._task.histories.take(positions), self._task.num_contents)
        return heard @ self._weights


def _dense_rank(*keys: Int[np.ndarray, " contents"]) -> Float[np.ndarray, " contents"]:
    """0 for the lowest `keys[0]`, then `keys[1]`, ...; float32 holds ranks exactly where it would round counts."""
    _, ranks = np.unique(np.stack(keys), axis=1, return_inverse=True)
    return ranks.ravel().astype(np.float32)


def _heard(histories: Ragged, num_contents: int) -> sparse.csr_array:
    """`[listeners, contents]`, float32: 1 where the listener heard the content at all."""
    unique = histories.unique()
    ones = np.ones(len(unique.values), dtype=np.float32)
    return sparse.csr_array((ones, unique.values, unique.offsets), shape=(len(unique), num_contents))


def _co_listeners(
    heard: sparse.csr_array, num_contents: int
) -> Iterator[tuple[slice, Float[np.ndarray, "block contents"]]]:
    """How many listeners heard both of two contents: blocks of rows, each with the slice it stands at."""
    by_content = sparse.csr_array(heard.T)
    for start in range(0, num_contents, _BLOCK):
        rows = slice(start, min(start + _BLOCK, num_contents))
        yield rows, (by_content[rows] @ heard).toarray()


def _cosine_neighbours(heard: sparse.csr_array, num_contents: int, neighbours: int) -> sparse.csr_array:
    """`[contents, contents]`: each row holds a content's cosines with its nearest, 0 elsewhere."""
    # A content without a listener is at cosine 0 of all; the 1 avoids 0 / 0.
    norms = np.sqrt(np.maximum(np.asarray(heard.sum(axis=0)), 1.0)).astype(np.float32)
    blocks = []
    for rows, counts in _co_listeners(heard, num_contents):
        cosines = counts / norms[rows, None] / norms
        contents = np.arange(rows.start, rows.stop)
        cosines[contents - rows.start, contents] = 0.0
        nearest = top_k(cosines, neighbours)
        block = sparse.csr_array(
            (
                np.take_along_axis(cosines, nearest, axis=1).ravel(),
                nearest.ravel(),
                np.arange(len(contents) + 1) * nearest.shape[1],
            ),
            shape=(len(contents), num_contents),
        )
        block.eliminate_zeros()
        blocks.append(block)
    return sparse.csr_array(sparse.vstack(blocks))


def _ease_weights(heard: sparse.csr_array, num_contents: int, l2: float) -> Float[np.ndarray, "contents contents"]:
    gram = np.empty((num_contents, num_contents), dtype=np.float32)
    for rows, counts in _co_listeners(heard, num_contents):
        gram[rows] = counts
    gram[np.diag_indices(num_contents)] += l2
    inverse = linalg.inv(gram, overwrite_a=True)
    inverse /= -np.diag(inverse)
    inverse[np.diag_indices(num_contents)] = 0.0
    return inverse
