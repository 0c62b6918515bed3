"""Which targets a slice counts, and in which list it looks for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from towers.contract.schema import KINDS, PLAYABLE_KINDS
from towers.evaluation.ranking.rankers import Ranking
from towers.evaluation.result import ALL, Evaluation, SliceResult
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

SLICES: Final = (
    ALL, "familiar", "discovery", "cold_content", "cold_among_cold", "cold_users", "head", "middle", "tail",
    *PLAYABLE_KINDS,
)  # fmt: skip
"""All but those of slicings, which are called `name:label`; `harness.evaluate` says what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The targets that one slice counts, and the list it looks for them in.

    Args:
        ranking: the list.
        keep: `[targets]`, over the values of the task's `ranked_targets`.
    """

    ranking: Ranking
    keep: Bool[np.ndarray, " targets"]


@runtime_checkable  # for the tests, which check annotations at run time
class Slicing(Protocol):
    """Divides the first listens (discovery) further; its slices are called `name:label`."""

    @property
    def name(self) -> str:
        """Of what it divides by: `history`, `country`."""
        ...

    def masks(self, targets: Ragged) -> dict[str, Bool[np.ndarray, " targets"]]:
        """By label, which of the targets (one list of content rows a listener of the task) belong to it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ByListener:
    """By what the listener is.

    Args:
        name: of the slicing.
        labels: of the codes.
        codes: `[users]` of the task, index into `labels`; -1 belongs nowhere.
    """

    name: str
    labels: tuple[str, ...]
    codes: Int[np.ndarray, " users"]

    def masks(self, targets: Ragged) -> dict[str, Bool[np.ndarray, " targets"]]:
        """See `Slicing`."""
        codes = self.codes[targets.list_of_value]
        return {label: codes == code for code, label in enumerate(self.labels)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ByContent:
    """By what the content is; a content may bear several labels (genres) or none.

    Args:
        name: of the slicing.
        labels: of the codes.
        codes: per content of the store the indices into `labels`.
    """

    name: str
    labels: tuple[str, ...]
    codes: Ragged

    def masks(self, targets: Ragged) -> dict[str, Bool[np.ndarray, " targets"]]:
        """See `Slicing`."""
        found = {}
        contents = self.codes.list_of_value
        for code, label in enumerate(self.labels):
            bears = np.zeros(len(self.codes), dtype=bool)
            bears[contents[self.codes.values == code]] = True
            found[label] = bears[targets.values]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTarget:
    """By how the listener came to the target: context, time since release.

    Args:
        name: of the slicing.
        labels: one for each of `pairs`.
        pairs: per label, the targets that bear it: one list of content rows a listener of the task.
    """

    name: str
    labels: tuple[str, ...]
    pairs: tuple[Ragged, ...]

    def masks(self, targets: Ragged) -> dict[str, Bool[np.ndarray, " targets"]]:
        """See `Slicing`."""
        width = 1 + max(int(lists.values.max(initial=0)) for lists in (targets, *self.pairs))
        keys = pair_keys(targets, width)
        return {
            label: _are_among(keys, pair_keys(lists, width))
            for label, lists in zip(self.labels, self.pairs, strict=True)
        }


def slices_of(task: EvaluationTask, *, filter_seen: bool, slicings: Sequence[Slicing] = ()) -> dict[str, Slice]:
    """All slices of a task; `harness.evaluate` has the table of them."""
    targets = task.ranked_targets
    rows = targets.values
    heard = _are_among(pair_keys(targets, task.num_contents), pair_keys(task.histories, task.num_contents))
    cold = ~heard & task.is_cold[rows]
    slices = {ALL: Slice(ranking="unseen" if filter_seen else "everything", keep=np.ones(len(rows), dtype=bool))}
    if not filter_seen:
        slices["familiar"] = Slice(ranking="everything", keep=heard)
    slices["discovery"] = Slice(ranking="unseen", keep=~heard)
    slices["cold_content"] = Slice(ranking="unseen", keep=cold)
    slices["cold_among_cold"] = Slice(ranking="unseen_cold", keep=cold)
    slices["cold_users"] = Slice(ranking="unseen", keep=~heard & task.is_cold_user[targets.list_of_value])
    for name, belongs in popularity_thirds(task).items():
        slices[name] = Slice(ranking="unseen", keep=~heard & belongs[rows])
    kinds = {
        kind: ~heard & (task.kind_codes[rows] == code) for code, kind in enumerate(KINDS) if kind in PLAYABLE_KINDS
    }
    kinds = {kind: keep for kind, keep in kinds.items() if keep.any()}
    if len(kinds) > 1:
        slices |= {kind: Slice(ranking="unseen", keep=keep) for kind, keep in kinds.items()}
    for slicing in slicings:
        for label, keep in slicing.masks(targets).items():
            slices[f"{slicing.name}:{label}"] = Slice(ranking="unseen", keep=~heard & keep)
    return slices


def divided(evaluation: Evaluation, slicing: ByListener, of: str = "discovery") -> Evaluation:
    """The evaluation with one of its slices divided further, from the figures that are there: no list is made anew."""
    whole = evaluation.slices[of]
    codes = slicing.codes[whole.positions]
    parts = {
        f"{slicing.name}:{label}": SliceResult(
            positions=whole.positions[codes == code],
            values={metric: figures[codes == code] for metric, figures in whole.values.items()},
        )
        for code, label in enumerate(slicing.labels)
    }
    return replace(evaluation, slices={**evaluation.slices, **parts})


def popularity_thirds(task: EvaluationTask) -> dict[str, Bool[np.ndarray, " contents"]]:
    """Which contents are `head`, `middle` and `tail`: each third carries a third of the training plays.

    Candidates by falling `train_counts`; a content belongs to the third in which its first play falls, so
    the head is never empty. Cold contents, and those without a training play, belong to none.
    """
    codes = popularity_parts(task, 3)
    return {name: codes == code for code, name in enumerate(("head", "middle", "tail"))}


def popularity_parts(task: EvaluationTask, parts: int) -> Int[np.ndarray, " contents"]:
    """`[contents]`: which of `parts` equal shares of the training plays a content's first play falls in, most played
    first; -1 for cold contents, those without a training play, and what is no candidate.
    """
    rows = np.flatnonzero(task.is_candidate & ~task.is_cold & (task.train_counts > 0))
    rows = rows[np.argsort(-task.train_counts[rows], kind="stable")]
    counts = task.train_counts[rows].astype(np.int64)
    before = np.cumsum(counts) - counts
    codes = np.full(task.num_contents, -1)
    codes[rows] = parts * before // max(int(counts.sum()), 1)
    return codes


def pair_keys(lists: Ragged, num_contents: int) -> Int[np.ndarray, " total"]:
    """One number for every (list, content row) pair, rising where the lists are sorted."""
    return lists.list_of_value * num_contents + lists.values.astype(np.int64)


def _are_among(keys: Int[np.ndarray, " keys"], others: Int[np.ndarray, " others"]) -> Bool[np.ndarray, " keys"]:
    """np.isin by sorting: it hashes, which takes many times as long for millions of keys."""
    in_order = np.append(np.sort(others), np.iinfo(np.int64).max)
    return in_order[np.searchsorted(in_order, keys)] == keys
