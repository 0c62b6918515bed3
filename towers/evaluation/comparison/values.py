"""What a comparison of two evaluations holds, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from towers.evaluation.intervals import Difference
from towers.evaluation.ranking.rankers import Ranking
from towers.evaluation.report.content_cards import ContentCard
from towers.evaluation.report.listener_examples import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """A figure before and after, over the listeners that have it, and the paired difference."""

    before: float
    after: float
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerChange:
    """A listener who gained or lost.

    Args:
        user: raw id.
        before: their main metric.
        after: likewise.
        recent: heard last, newest first, each once.
        list_before: what they were shown, best first.
        list_after: what they are shown.
    """

    user: str
    before: float
    after: float
    recent: tuple[ContentCard, ...]
    list_before: tuple[Recommendation, ...]
    list_after: tuple[Recommendation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureChange:
    """In how many listeners' lists of what they have not heard a content stands."""

    card: ContentCard
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How alike the lists of a listener are, from 0 to 1, in the mean over listeners."""

    jaccard: float
    rank_biased: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed.

    Args:
        before: name of the ranker.
        after: name of the other.
        main_metric: by whose difference listeners gain or lose.
        changes: by key.
        left_out: keys asked for that one of the two has no figures of.
        gained: those who gained most, most first.
        lost: those who lost most, most first.
        exposure: the contents whose exposure changed most, most first.
        overlap: by list.
        listeners: a row a listener: `user_row`, `user_id`, `before` and `after` (main metric, null outside of its
            slice), `jaccard` and `rank_biased_overlap` of the lists of what they have not heard.
        contents: a row a content that anybody is shown: `content_row`, `content_id`, `title`, `kind`, `is_cold`,
            `train_positives`, `before` and `after` (lists it stands in).
    """

    before: str
    after: str
    main_metric: str
    changes: Mapping[str, KeyChange]
    left_out: tuple[str, ...]
    gained: tuple[ListenerChange, ...]
    lost: tuple[ListenerChange, ...]
    exposure: tuple[ExposureChange, ...]
    overlap: Mapping[Ranking, Overlap]
    listeners: pa.Table
    contents: pa.Table
