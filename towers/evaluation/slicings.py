"""Slicing rules: each makes a `Slicing` from a store for one task."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from towers.contract.durations import DAY_US
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.attributes import single_codes
from towers.evaluation.slices import ByContent, ByListener, ByTarget, popularity_parts
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged
from towers.features.text import category_text

Period = Literal["validation", "test"]
Division = ByListener | ByContent | ByTarget


@runtime_checkable  # for the tests, which check annotations at run time
class SlicingRule(Protocol):
    """A criterion by which targets are divided into slices."""

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division | None:
        """Returns the slicing of `task`, which was made from `store` and `period`; null if the data is missing."""
        ...


class HistoryLength:
    """Slices by the number of the listener's positive events before the period.

    Args:
        bounds: smallest number of each group, ascending; a group ends before the next one.
    """

    def __init__(self, bounds: tuple[int, ...] = (0, 1, 10, 50, 200)):
        self._bounds = _rising("history", bounds)

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division:
        """See `SlicingRule`."""
        codes = np.searchsorted(self._bounds, task.histories.lengths, side="right") - 1
        return ByListener(name="history", labels=range_labels(self._bounds), codes=codes)


class PopularityParts:
    """Slices by shares of the training plays, the most played first: of ten parts, `1` has the first tenth of plays.

    Args:
        parts: number of parts.
    """

    def __init__(self, parts: int = 10):
        if parts < 1:
            raise UserError(f"evaluation.slicings, parts={parts}: must be at least 1")
        self._parts = parts

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division:
        """See `SlicingRule`."""
        labels = tuple(str(part + 1) for part in range(self._parts))
        return ByContent(name="popularity", labels=labels, codes=single_codes(popularity_parts(task, self._parts)))


class ReleaseAge:
    """Slices by the days from a content's release to the listener's first target event with it.

    Args:
        bounds_days: first day of each group, ascending; a group ends before the next one.
        is_cold_only: whether only contents without a play in training count.
    """

    def __init__(self, bounds_days: tuple[int, ...] = (0, 7, 14, 28, 90, 365), is_cold_only: bool = False):
        self._bounds = _rising("release age", bounds_days)
        self._is_cold_only = is_cold_only

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division | None:
        """See `SlicingRule`; null without timestamps or release dates."""
        released = store.contents["release_date"]
        if not store.has_clock or released.null_count == len(released):
            return None
        listens = first_listens(store, task, period)
        days = released.to_numpy(zero_copy_only=False).astype("datetime64[D]")
        released_us = days.astype("datetime64[us]").astype(np.int64)[listens.content_rows]
        age = (store.histories.timestamp_us[listens.events] - released_us) // DAY_US
        is_known = ~np.isnat(days)[listens.content_rows] & (age >= self._bounds[0])
        if self._is_cold_only:
            is_known &= task.is_cold[listens.content_rows]
        codes = np.where(is_known, np.searchsorted(self._bounds, age, side="right") - 1, -1)
        return listens.divided("release_age", range_labels(self._bounds), codes, len(task.user_rows))


class LastDays:
    """Slices by the day (UTC) of the listener's first target event with the content, for the period's last days.

    Args:
        days: number of last days; earlier days are in no slice.
    """

    def __init__(self, days: int = 7):
        if days < 1:
            raise UserError(f"evaluation.slicings, days={days}: must be at least 1")
        self._days = days

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division | None:
        """See `SlicingRule`; null without timestamps or events."""
        listens = first_listens(store, task, period)
        if not store.has_clock or not len(listens.events):
            return None
        days = np.asarray(store.histories.timestamp_us[listens.events]) // DAY_US
        found, codes = np.unique(days, return_inverse=True)
        codes = codes - max(len(found) - self._days, 0)
        labels = tuple(str(np.datetime64(int(day), "D")) for day in found[-self._days :])
        return listens.divided("day", labels, np.maximum(codes, -1), len(task.user_rows))


class Origin:
    """Slices by the context of the listener's first event with a target: `recommended` or `organic` (found without us).

    Args:
        recommended: contexts in which the service recommended something; the others are organic. An event without a
            context, or with one not seen in training, is in neither.
    """

    def __init__(self, recommended: tuple[str, ...] = ("home", "radio")):
        self._recommended = recommended

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division | None:
        """See `SlicingRule`; null if no event has a context."""
        vocabulary = store.vocabulary("context")
        if len(vocabulary) < 2:
            return None
        listens = first_listens(store, task, period)
        contexts = np.asarray(store.histories.context[listens.events])
        recommended = np.isin(contexts, [code for code in vocabulary.encode(list(self._recommended)) if code > 0])
        codes = np.where(contexts == 0, -1, np.where(recommended, 0, 1))
        return listens.divided("origin", ("recommended", "organic"), codes, len(task.user_rows))


class UserColumn:
    """Slices by a column of users/.

    Args:
        column: name of the column.
        max_values: number of slices, for the most frequent values among the task's listeners.
    """

    def __init__(self, column: str, max_values: int = 8):
        if max_values < 1:
            raise UserError(f"evaluation.slicings, max_values={max_values} of {column}: must be at least 1")
        self._column, self._max_values = column, max_values

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division | None:
        """See `SlicingRule`; null if users/ has no such column."""
        if self._column not in store.users.column_names:
            return None
        values = [category_text(value) for value in store.users[self._column].take(task.user_rows).to_pylist()]
        labels = _most_frequent([[value] for value in values if value is not None], self._max_values)
        code_of = {label: code for code, label in enumerate(labels)}
        codes = np.array([code_of.get(value, -1) if value is not None else -1 for value in values], dtype=np.int64)
        return ByListener(name=self._column, labels=labels, codes=codes)


class ContentColumn:
    """Slices by a column of contents/; in a list column (genres, artist_ids) every value counts.

    Args:
        column: name of the column.
        max_values: number of slices, for the most frequent values among candidates.
    """

    def __init__(self, column: str, max_values: int = 8):
        if max_values < 1:
            raise UserError(f"evaluation.slicings, max_values={max_values} of {column}: must be at least 1")
        self._column, self._max_values = column, max_values

    def slicing(self, store: Store, task: EvaluationTask, period: Period) -> Division | None:
        """See `SlicingRule`; null if no candidate has a value.

        Raises:
            UserError: contents/ has no such column.
        """
        if self._column not in store.contents.column_names:
            raise UserError(
                f"evaluation.slicings: contents/ has no column {self._column!r}; it has "
                f"{', '.join(store.contents.column_names)}"
            )
        values = [_texts(value) for value in store.contents[self._column].to_pylist()]
        counted = [bears for bears, counts in zip(values, task.is_candidate, strict=True) if counts]
        labels = _most_frequent(counted, self._max_values)
        if not labels:
            return None
        code_of = {label: code for code, label in enumerate(labels)}
        codes = Ragged.from_lists([[code_of[text] for text in texts if text in code_of] for texts in values])
        return ByContent(name=self._column, labels=labels, codes=codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstListens:
    """The first target event of every (listener, target) pair.

    Args:
        positions: `[pairs]`, listeners as indices into the task, ascending.
        content_rows: `[pairs]`, content rows.
        events: `[pairs]`, indices into the flat event columns of the store.
    """

    positions: Int[np.ndarray, " pairs"]
    content_rows: Int[np.ndarray, " pairs"]
    events: Int[np.ndarray, " pairs"]

    def divided(self, name: str, labels: tuple[str, ...], codes: Int[np.ndarray, " pairs"], num_users: int) -> ByTarget:
        """Returns the slicing by a code for each pair; -1: in no slice."""
        pairs = []
        for code in range(len(labels)):
            kept = codes == code
            lengths = np.bincount(self.positions[kept], minlength=num_users)
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            pairs.append(Ragged(offsets, self.content_rows[kept]))
        return ByTarget(name=name, labels=labels, pairs=tuple(pairs))


def first_listens(store: Store, task: EvaluationTask, period: Period) -> FirstListens:
    """Returns the first listens of the task's listeners in its period."""
    histories = store.histories
    begin, end = (np.asarray(places)[task.user_rows] for places in histories.period(period))
    lengths = end - begin
    positions = np.repeat(np.arange(len(lengths)), lengths)
    events = np.repeat(begin - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    kept = np.asarray(histories.is_positive[events])
    positions, events = positions[kept], events[kept]
    rows = np.asarray(histories.content_row[events]).astype(np.int64)
    # Events are in time order, and np.unique returns the first of equal keys.
    _, first = np.unique(positions * task.num_contents + rows, return_index=True)
    return FirstListens(positions=positions[first], content_rows=rows[first], events=events[first])


def range_labels(bounds: Sequence[int]) -> tuple[str, ...]:
    """Returns the labels of the groups that begin at `bounds`.

    >>> range_labels((0, 1, 10, 50))
    ('0', '1-9', '10-49', '50+')
    """
    labels = [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(bounds)]
    return (*labels, f"{bounds[-1]}+")


def _rising(name: str, bounds: tuple[int, ...]) -> tuple[int, ...]:
    if not bounds or any(low >= high for low, high in pairwise(bounds)):
        raise UserError(f"evaluation.slicings, bounds of {name}: must rise, and there must be one, got {list(bounds)}")
    return bounds


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in map(category_text, values) if text is not None]


def _most_frequent(values: Sequence[Sequence[str]], count: int) -> tuple[str, ...]:
    """Returns the most frequent values; ties are in text order, so that the same data gives the same slices."""
    counted = Counter(text for texts in values for text in set(texts))
    return tuple(sorted(counted, key=lambda text: (-counted[text], text))[:count])
