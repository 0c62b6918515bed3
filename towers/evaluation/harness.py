"""Full ranking of the whole catalogue for every listener, and what each slice of targets makes of it.

Knows no model: whoever gives a listener scores for contents is a `Ranker`. Scores are asked for once per block of
listeners and ranked at most three times: with the contents heard before, without them, and without them
among the cold candidates alone. Slices then differ only in which of the targets they count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.metrics import DEFAULT_KS, ranked_metrics
from towers.evaluation.ranking import top_k
from towers.evaluation.result import ALL, Evaluation, SliceResult
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged
from towers.schema import KINDS, PLAYABLE_KINDS

BLOCK_BYTES = 1 << 30
Ranking = Literal["everything", "unseen", "unseen cold"]


@runtime_checkable  # for the tests, which check annotations at run time
class Ranker(Protocol):
    """Whoever scores contents for listeners: a baseline, dot products of vectors, an index."""

    @property
    def name(self) -> str:
        """Stands in reports; unique among the rankers of one report."""
        ...

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Scores of all contents of the store, higher is better, for the listeners at `positions`.

        `positions` index the task's `user_rows`. Minus infinity leaves a content out of the listener's
        list; NaN is an error. Scores of contents that are no candidates are ignored.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """The targets that one slice counts, and the ranking it counts them in."""

    ranking: Ranking
    keep: Bool[np.ndarray, " targets"]


def evaluate(
    task: EvaluationTask,
    ranker: Ranker,
    *,
    filter_seen: bool,
    ks: Sequence[int] = DEFAULT_KS,
    min_users: int = 100,
    block_size: int | None = None,
) -> Evaluation:
    """Metrics of `ranker` per listener, for all targets and by slice.

    Equal scores rank in the order of content rows, so that constant scores have one answer. A target that is no
    candidate cannot be ranked and is not counted; a listener without a target in a slice is not in it.
    "Heard" means in the listener's history, "cold" without a play in the training period.

    | slice | targets | ranked |
    |---|---|---|
    | `all` | all | all candidates; without those heard if `filter_seen` |
    | `familiar` | heard | all candidates; absent if `filter_seen` |
    | `discovery` | not heard | candidates not heard, as in all that follow |
    | `cold_content` | not heard, cold | |
    | `cold_among_cold` | the same | only those of them that are cold |
    | `cold_users` | not heard, of listeners without an event in training | |
    | `head`, `middle`, `tail` | not heard, by a third of the training plays each (`popularity_thirds`) | |
    | `track`, `episode`, ... | not heard, of that kind; absent where all are of one kind | |

    Args:
        task: what is to be ranked for whom.
        ranker: gives the scores.
        filter_seen: whether the slice `all` leaves out what the listener has heard.
        ks: lengths of the lists judged.
        min_users: slices with fewer listeners get no mean.
        block_size: listeners scored at a time; about `20 * block_size * contents` bytes are in use. Null: 256, or as
            many as fit into `BLOCK_BYTES`.

    Raises:
        ValueError: scores that hold NaN or have the wrong shape (the message names the ranker), `ks` or
            `min_users` below 1.
    """
    if not ks or min(ks) < 1 or min_users < 1:
        raise ValueError(f"ks and min_users must be at least 1, got {tuple(ks)} and {min_users}")
    if block_size is None:
        block_size = max(1, min(256, BLOCK_BYTES // (20 * task.num_contents)))
    num_users = len(task.user_rows)
    targets = _Targets.of(task)
    slices = _slices(task, targets.contents, filter_seen=filter_seen)
    num_targets = {name: targets.count(kept.keep) for name, kept in slices.items()}
    rankings: set[Ranking] = {kept.ranking for kept in slices.values()}
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in slices}
    for start in range(0, num_users, block_size):
        positions = np.arange(start, min(start + block_size, num_users))
        ranked = _ranked(task, ranker, positions, rankings, max(ks))
        found = {ranking: targets.find(positions, rows) for ranking, rows in ranked.items()}
        for name, kept in slices.items():
            counts = num_targets[name][positions]
            hits = np.append(kept.keep, False)[found[kept.ranking][counts > 0]]
            parts[name].append(ranked_metrics(hits, counts[counts > 0], ks))
    return Evaluation(
        ranker=ranker.name,
        user_rows=task.user_rows,
        slices={
            name: SliceResult(positions=np.flatnonzero(num_targets[name]), values=_joined(parts[name]))
            for name in slices
        },
        min_users=min_users,
    )


def popularity_thirds(task: EvaluationTask) -> dict[str, Bool[np.ndarray, " contents"]]:
    """Which contents are `head`, `middle` and `tail`: each third carries a third of the training plays.

    Candidates by falling `train_counts`; a content belongs to the third in which its first play falls, so
    the head is never empty. Cold contents, and those without a training play, belong to none.
    """
    rows = np.flatnonzero(task.is_candidate & ~task.is_cold & (task.train_counts > 0))
    rows = rows[np.argsort(-task.train_counts[rows], kind="stable")]
    counts = task.train_counts[rows].astype(np.int64)
    before = np.cumsum(counts) - counts
    third = 3 * before // max(int(counts.sum()), 1)
    thirds = {}
    for number, name in enumerate(("head", "middle", "tail")):
        thirds[name] = np.zeros(task.num_contents, dtype=bool)
        thirds[name][rows[third == number]] = True
    return thirds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Targets:
    """All (listener, target) pairs in one sorted array of keys, where ranked contents are looked up."""

    contents: Ragged
    num_contents: int
    keys: Int[np.ndarray, " keys"]

    @classmethod
    def of(cls, task: EvaluationTask) -> "_Targets":
        contents = task.targets.where(task.is_candidate[task.targets.values]).unique()
        # The last key is larger than any, so that every look-up ends inside the array.
        keys = np.append(_pair_keys(contents, task.num_contents), np.iinfo(np.int64).max)
        return cls(contents=contents, num_contents=task.num_contents, keys=keys)

    def count(self, keep: Bool[np.ndarray, " targets"]) -> Int[np.ndarray, " users"]:
        """How many of the kept targets each listener has."""
        return self.contents.where(keep).lengths

    def find(
        self, positions: Int[np.ndarray, " block"], rows: Int[np.ndarray, "block ranks"]
    ) -> Int[np.ndarray, "block ranks"]:
        """Which target each ranked content is, as an index into `contents.values`; -1 for none."""
        wanted = positions[:, None] * self.num_contents + rows
        at = np.searchsorted(self.keys, wanted)
        return np.where((self.keys[at] == wanted) & (rows >= 0), at, -1)


def _slices(task: EvaluationTask, targets: Ragged, *, filter_seen: bool) -> dict[str, _Slice]:
    rows = targets.values
    heard = np.isin(_pair_keys(targets, task.num_contents), _pair_keys(task.histories, task.num_contents))
    cold = ~heard & task.is_cold[rows]
    slices = {ALL: _Slice(ranking="unseen" if filter_seen else "everything", keep=np.ones(len(rows), dtype=bool))}
    if not filter_seen:
        slices["familiar"] = _Slice(ranking="everything", keep=heard)
    slices["discovery"] = _Slice(ranking="unseen", keep=~heard)
    slices["cold_content"] = _Slice(ranking="unseen", keep=cold)
    slices["cold_among_cold"] = _Slice(ranking="unseen cold", keep=cold)
    slices["cold_users"] = _Slice(ranking="unseen", keep=~heard & task.is_cold_user[targets.list_of_value])
    for name, belongs in popularity_thirds(task).items():
        slices[name] = _Slice(ranking="unseen", keep=~heard & belongs[rows])
    kinds = {
        kind: ~heard & (task.kind_codes[rows] == code) for code, kind in enumerate(KINDS) if kind in PLAYABLE_KINDS
    }
    kinds = {kind: keep for kind, keep in kinds.items() if keep.any()}
    if len(kinds) > 1:
        slices |= {kind: _Slice(ranking="unseen", keep=keep) for kind, keep in kinds.items()}
    return slices


def _ranked(
    task: EvaluationTask, ranker: Ranker, positions: np.ndarray, rankings: set[Ranking], k: int
) -> dict[Ranking, Int[np.ndarray, "block ranks"]]:
    """The content rows of the first k of each ranking, best first, -1 where a list is shorter."""
    scores = np.asarray(ranker.scores(positions))
    if scores.shape != (len(positions), task.num_contents):
        raise ValueError(
            f"ranker {ranker.name!r} gave scores of shape {scores.shape}, "
            f"expected {(len(positions), task.num_contents)}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"ranker {ranker.name!r} gave scores that are not a number")
    # A copy, because the ranker may keep what it returned.
    scores = np.where(task.is_candidate, scores, -np.inf)
    ranked: dict[Ranking, np.ndarray] = {}
    if "everything" in rankings:
        ranked["everything"] = top_k(scores, k)
    heard = task.histories.take(positions)
    scores[heard.list_of_value, heard.values] = -np.inf
    ranked["unseen"] = top_k(scores, k)
    cold = np.flatnonzero(task.is_cold & task.is_candidate)
    among_cold = top_k(scores[:, cold], k)
    # The appended -1 is what a place without a content, itself -1, points at.
    ranked["unseen cold"] = np.append(cold, -1)[among_cold]
    return ranked


def _pair_keys(lists: Ragged, num_contents: int) -> Int[np.ndarray, " total"]:
    return lists.list_of_value * num_contents + lists.values.astype(np.int64)


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in (parts[0] if parts else ())}
