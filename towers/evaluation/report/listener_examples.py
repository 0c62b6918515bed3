"""Example listeners with their recent contents, their recommendations, and the hits among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.report.content_cards import ContentCard, ContentCards
from towers.evaluation.report.score_calibration import are_targets
from towers.evaluation.task import EvaluationTask

NUM_RECENT = 8
NUM_RECOMMENDED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One recommended content of a list.

    Args:
        card: card of the content.
        score: score by which it was ranked.
        is_hit: whether the listener played it afterwards.
    """

    card: ContentCard
    score: float
    is_hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerExample:
    """One example listener.

    Args:
        role: reason for the choice.
        user: raw id, or row.
        num_events: number of positive events before the cut.
        num_targets: number of contents first played after the cut.
        recent: recently heard contents, newest first, each once.
        recommended: recommended unheard contents, best first.
    """

    role: str
    user: str
    num_events: int
    num_targets: int
    recent: tuple[ContentCard, ...]
    recommended: tuple[Recommendation, ...]


def listener_examples(
    task: EvaluationTask, unseen: Ranked, cards: ContentCards, user_ids: Sequence[str] | np.ndarray, *, seed: int = 0
) -> tuple[ListenerExample, ...]:
    """Draws one listener each with a short, a medium and a long history, and one without a history.

    The draw depends only on the length of the history, not on the quality of the recommendations.

    Args:
        task: task with the listeners.
        unseen: `[users, ranks]`, the listeners' lists of unheard contents.
        cards: cards of the contents.
        user_ids: listeners' ids by row of the store.
        seed: seed of the draw.
    """
    hits = are_targets(task, unseen.rows)
    return tuple(
        _example(role, position, task, unseen, hits, cards, user_ids)
        for role, position in chosen(task, seed=seed).items()
    )


def chosen(task: EvaluationTask, *, seed: int = 0) -> dict[str, int]:
    """Returns the positions of the drawn listeners by role; a role without listeners is absent."""
    lengths = task.histories.lengths
    some = np.flatnonzero(lengths > 0)
    some = some[np.argsort(lengths[some], kind="stable")]
    short, middling, long = np.array_split(some, 3)
    groups = {"a short history": short, "a middling history": middling, "a long history": long}
    groups["no history"] = np.flatnonzero(lengths == 0)
    generator = np.random.default_rng(seed)
    return {role: int(generator.choice(group)) for role, group in groups.items() if len(group)}


def _example(
    role: str,
    position: int,
    task: EvaluationTask,
    unseen: Ranked,
    hits: np.ndarray,
    cards: ContentCards,
    user_ids: Sequence[str] | np.ndarray,
) -> ListenerExample:
    history = task.histories[position]
    recent = list(dict.fromkeys(history[::-1].tolist()))[:NUM_RECENT]
    rows = unseen.rows[position, :NUM_RECOMMENDED]
    rows = rows[rows >= 0]
    return ListenerExample(
        role=role,
        user=str(user_ids[int(task.user_rows[position])]),
        num_events=len(history),
        num_targets=len(np.setdiff1d(task.ranked_targets[position], history)),
        recent=cards.at(recent),
        recommended=tuple(
            Recommendation(card=card, score=float(score), is_hit=bool(is_hit))
            for card, score, is_hit in zip(
                cards.at(rows), unseen.scores[position, : len(rows)], hits[position, : len(rows)], strict=True
            )
        ),
    )
