"""A few listeners: what they heard last, what is recommended to them, and what of it they then played."""

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
    """One place of a list.

    Args:
        card: of the content.
        score: it was ranked by.
        is_hit: the listener played it afterwards.
    """

    card: ContentCard
    score: float
    is_hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerExample:
    """One listener.

    Args:
        role: why they were chosen.
        user: raw id, or row.
        num_events: positive events before the cut.
        num_targets: contents played after it for the first time.
        recent: last heard first, each once.
        recommended: best first, without what was heard.
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
    """One listener each with a short, a middling and a long history, and one without any, drawn among their like.

    Drawn by history alone and not by how well they are served.

    Args:
        task: the listeners.
        unseen: `[users, ranks]`, their lists without what they have heard.
        cards: of the contents.
        user_ids: by row of the store.
        seed: of the draw.
    """
    hits = are_targets(task, unseen.rows)
    return tuple(
        _example(role, position, task, unseen, hits, cards, user_ids)
        for role, position in chosen(task, seed=seed).items()
    )


def chosen(task: EvaluationTask, *, seed: int = 0) -> dict[str, int]:
    """Positions of the listeners by role; a role that nobody has is absent."""
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
