"""Slices of an evaluation: the targets that each counts, and the list in which it looks for them."""

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
"""Names of all slices except those of slicings (`name:label`); `harness.evaluate` defines them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The targets that one slice counts, and the list in which it looks for them.

    Args:
        ranking: name of the list.
        keep: `[targets]`, mask over the values of the task's `ranked_targets`.
    """

    ranking: Ranking
    keep: Bool[np.ndarray, " targets"]


@runtime_checkable  # for the tests, which check annotations at run time
class Slicing(Protocol):
    """A further division of the slice `discovery`; its slices are called `name:label`."""

    @property
    def name(self) -> str:
        """Name of the criterion, such as `history` or `country`."""
        ...

    def masks(self, targets: Ragged) -> dict[str, Bool[np.ndarray, " targets"]]:
        """Returns, by label, a mask of the targets (one list of content rows per listener of the task)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ByListener:
    """A slicing by a property of the listener.

    Args:
        name: name of the slicing.
        labels: labels of the codes.
        codes: `[users]` of the task, index into `labels`; -1: in no slice.
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
    """A slicing by a property of the content; a content may have several labels (genres) or none.

    Args:
        name: name of the slicing.
        labels: labels of the codes.
        codes: indices into `labels` for each content of the store.
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
    """A slicing by a property of the pair of listener and target, such as context or time since release.

    Args:
        name: name of the slicing.
        labels: labels, one for each of `pairs`.
        pairs: targets with each label: one list of content rows per listener of the task.
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
    """Returns all slices of a task; `harness.evaluate` defines them in a table."""
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
    """Returns the evaluation with one of its slices divided further, from its values and without new lists."""
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
    """Returns masks of the contents in `head`, `middle` and `tail`, each with a third of the training plays.

    Candidates are sorted by descending `train_counts`; a content belongs to the third that contains its first play, so
    the head is not empty. Cold contents, and those without a training play, are in none.
    """
    codes = popularity_parts(task, 3)
    return {name: codes == code for code, name in enumerate(("head", "middle", "tail"))}


def popularity_parts(task: EvaluationTask, parts: int) -> Int[np.ndarray, " contents"]:
    """Returns, `[contents]`, which of `parts` equal shares of the training plays contains a content's first play.

    The most played contents come first; -1 for cold contents, those without a training play, and non-candidates.
    """
    rows = np.flatnonzero(task.is_candidate & ~task.is_cold & (task.train_counts > 0))
    rows = rows[np.argsort(-task.train_counts[rows], kind="stable")]
    counts = task.train_counts[rows].astype(np.int64)
    before = np.cumsum(counts) - counts
    codes = np.full(task.num_contents, -1)
    codes[rows] = parts * before // max(int(counts.sum()), 1)
    return codes


def pair_keys(lists: Ragged, num_contents: int) -> Int[np.ndarray, " total"]:
    """Returns one number for every (list, content row) pair, ascending if the lists are sorted."""
    return lists.list_of_value * num_contents + lists.values.astype(np.int64)


def _are_among(keys: Int[np.ndarray, " keys"], others: Int[np.ndarray, " others"]) -> Bool[np.ndarray, " keys"]:
    """Returns which keys are among `others`, by sorting; np.isin uses hashing, which is many times slower here."""
    in_order = np.append(np.sort(others), np.iinfo(np.int64).max)
    return in_order[np.searchsorted(in_order, keys)] == keys
