"""Results of a comparison of two evaluations, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from towers.evaluation.intervals import Difference
from towers.evaluation.ranking.rankers import Ranking
from towers.evaluation.report.content_cards import ContentCard
from towers.evaluation.report.listener_examples import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """Mean of a metric before and after, over the listeners that have it, and the paired difference."""

    before: float
    after: float
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerChange:
    """A listener whose main metric rose or fell.

    Args:
        user: raw id of the listener.
        before: main metric before.
        after: main metric after.
        recent: recently heard contents, newest first, each once.
        list_before: recommendations before, best first.
        list_after: recommendations after, best first.
    """

    user: str
    before: float
    after: float
    recent: tuple[ContentCard, ...]
    list_before: tuple[Recommendation, ...]
    list_after: tuple[Recommendation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureChange:
    """Number of listeners' lists of unheard contents that contain a content, before and after."""

    card: ContentCard
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Mean overlap of a listener's lists before and after, from 0 to 1."""

    jaccard: float
    rank_biased: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of two evaluations.

    Args:
        before: name of the ranker before.
        after: name of the ranker after.
        main_metric: key by which listeners gain or lose.
        changes: changes of metrics by key.
        left_out: requested keys that one of the two evaluations lacks.
        gained: listeners with the largest gains, largest first.
        lost: listeners with the largest losses, largest first.
        exposure: contents with the largest change of exposure, largest first.
        overlap: overlap by list.
        listeners: table with a row per listener: `user_row`, `user_id`, `before` and `after` (main metric, null outside
            of its slice), `jaccard` and `rank_biased_overlap` of the lists of unheard contents.
        contents: table with a row per content in any list: `content_row`, `content_id`, `title`, `kind`, `is_cold`,
            `train_positives`, `before` and `after` (number of lists that contain it).
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
