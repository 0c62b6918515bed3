"""Full ranking of the catalogue for every listener, and metrics for every slice of the targets.

It knows no model: any object that makes lists is a `Ranker`. Lists are made once per block of listeners; slices differ
only in which targets they count, so one pass computes all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.metrics import DEFAULT_KS, ranked_metrics
from towers.evaluation.ranking.rankers import RANKINGS, Ranked, Ranker, Ranking
from towers.evaluation.result import ALL, Evaluation, SliceResult, metric_key
from towers.evaluation.slices import Slice, Slicing, pair_keys, slices_of
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

LIST_LENGTH = 20
LIST_SLICES = (ALL, "discovery")
"""Slices for which list metrics (novelty, diversity, ...) are computed, beside those of hits."""


@runtime_checkable  # for the tests, which check annotations at run time
class ListJudge(Protocol):
    """Computes metrics of lists beyond hits: novelty, diversity, calibration, coverage."""

    def per_listener(
        self,
        positions: Int[np.ndarray, " users"],
        rows: Int[np.ndarray, "users ranks"],
        hits: Bool[np.ndarray, "users ranks"],
    ) -> dict[str, Float[np.ndarray, " users"]]:
        """Returns, by metric (`novelty@20`), a value for each listener's list; NaN where it is undefined.

        Args:
            positions: indices into the task's `user_rows`.
            rows: content rows of the lists; -1 at empty places.
            hits: true where the content is a target.
        """
        ...

    def catalogue(self, exposure: Int[np.ndarray, " contents"]) -> dict[str, float]:
        """Returns, by metric (`coverage@20`), a value for all lists together.

        Args:
            exposure: number of lists that contain each content.
        """
        ...

    @property
    def k(self) -> int:
        """Length of the lists that are measured."""
        ...


def evaluate(
    task: EvaluationTask,
    ranker: Ranker,
    *,
    filter_seen: bool,
    ks: Sequence[int] = DEFAULT_KS,
    min_users: int = 100,
    slicings: Sequence[Slicing] = (),
    slices: Mapping[str, Slice] | None = None,
    list_judge: ListJudge | None = None,
    list_length: int = LIST_LENGTH,
) -> Evaluation:
    """Computes the metrics of `ranker` per listener, for all targets and by slice.

    A target that is no candidate cannot be ranked and is not counted. A slice contains only listeners with a target in
    it. "Heard" means in the listener's history, "cold" without a play in the training period.

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
    | `name:label` | not heard, divided by the slicing of that name | |

    Args:
        task: listeners, candidates and targets.
        ranker: ranker that makes the lists.
        filter_seen: whether the slice `all` excludes contents that the listener has heard.
        ks: list lengths at which metrics are computed.
        min_users: smallest number of listeners for which a slice has a mean.
        slicings: further divisions of the slice `discovery`.
        slices: slices in place of those above; null: those above.
        list_judge: metrics of the lists of `LIST_SLICES` beyond hits.
        list_length: number of ranks of each list that the evaluation keeps.

    Raises:
        ValueError: the ranker raises it, or `ks` or `min_users` is below 1.
    """
    if not ks or min(ks) < 1 or min_users < 1:
        raise ValueError(f"ks and min_users must be at least 1, got {tuple(ks)} and {min_users}")
    num_users = len(task.user_rows)
    targets = _Targets.of(task)
    if slices is None:
        slices = slices_of(task, filter_seen=filter_seen, slicings=slicings)
    num_targets = {name: targets.count(kept.keep) for name, kept in slices.items()}
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in slices}
    exposure = {name: np.zeros(task.num_contents, dtype=np.int64) for name in LIST_SLICES}
    lists: dict[Ranking, list[Ranked]] = {ranking: [] for ranking in RANKINGS}
    depth = max(*ks, list_length, list_judge.k if list_judge else 1)
    for start in range(0, num_users, ranker.block_size):
        positions = np.arange(start, min(start + ranker.block_size, num_users))
        ranked = ranker.rank(positions, depth)
        found = {ranking: targets.find(positions, ranked[ranking].rows) for ranking in RANKINGS}
        for ranking in RANKINGS:
            lists[ranking].append(_head(ranked[ranking], list_length))
        for name, kept in slices.items():
            counts = num_targets[name][positions]
            inside = counts > 0
            hits = np.append(kept.keep, False)[found[kept.ranking][inside]]
            parts[name].append(ranked_metrics(hits, counts[inside], ks))
            if list_judge is not None and name in LIST_SLICES:
                k = list_judge.k
                rows = ranked[kept.ranking].rows[inside, :k]
                parts[name][-1] |= list_judge.per_listener(positions[inside], rows, hits[:, :k])
                exposure[name] += np.bincount(rows[rows >= 0], minlength=task.num_contents)
    return Evaluation(
        ranker=ranker.name,
        user_rows=task.user_rows,
        slices={
            name: SliceResult(positions=np.flatnonzero(num_targets[name]), values=_joined(parts[name]))
            for name in slices
        },
        min_users=min_users,
        lists={ranking: _stacked(blocks) for ranking, blocks in lists.items() if blocks},
        catalogue={} if list_judge is None else _catalogue(list_judge, exposure),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Targets:
    """All (listener, target) pairs in one sorted array of keys, in which ranked contents are looked up."""

    contents: Ragged
    num_contents: int
    keys: Int[np.ndarray, " keys"]

    @classmethod
    def of(cls, task: EvaluationTask) -> "_Targets":
        contents = task.ranked_targets
        # The last key is larger than any other, so that every lookup ends inside the array.
        keys = np.append(pair_keys(contents, task.num_contents), np.iinfo(np.int64).max)
        return cls(contents=contents, num_contents=task.num_contents, keys=keys)

    def count(self, keep: Bool[np.ndarray, " targets"]) -> Int[np.ndarray, " users"]:
        """Returns the number of kept targets of each listener."""
        return self.contents.where(keep).lengths

    def find(
        self, positions: Int[np.ndarray, " block"], rows: Int[np.ndarray, "block ranks"]
    ) -> Int[np.ndarray, "block ranks"]:
        """Returns the target that each ranked content is, as an index into `contents.values`; -1 for none."""
        wanted = positions[:, None] * self.num_contents + rows
        at = np.searchsorted(self.keys, wanted)
        return np.where((self.keys[at] == wanted) & (rows >= 0), at, -1)


def _head(ranked: Ranked, length: int) -> Ranked:
    """Returns the first `length` ranks, in the narrow types in which lists are kept."""
    return Ranked(rows=ranked.rows[:, :length].astype(np.int32), scores=ranked.scores[:, :length].astype(np.float32))


def _stacked(blocks: Sequence[Ranked]) -> Ranked:
    return Ranked(
        rows=np.concatenate([block.rows for block in blocks]),
        scores=np.concatenate([block.scores for block in blocks]),
    )


def _catalogue(judge: ListJudge, exposure: dict[str, np.ndarray]) -> dict[str, float]:
    return {
        metric_key(metric, name): figure
        for name, counts in exposure.items()
        for metric, figure in judge.catalogue(counts).items()
    }


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in (parts[0] if parts else ())}
