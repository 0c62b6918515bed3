"""The vector space in a report: a map in two dimensions, and nearest neighbours of example contents."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.schema import KIND_CODES
from towers.evaluation.ranking.top_k import top_k
from towers.evaluation.report.content_cards import ContentCard, ContentCards
from towers.evaluation.task import EvaluationTask
from towers.retrieval.projection_2d import Method, project

MAX_POINTS = 3_000
NUM_NEIGHBOURS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedContents:
    """Positions of contents whose vectors are projected onto a plane.

    Args:
        cards: cards of the contents.
        positions: `[contents, 2]`, without a unit.
        method: method of the projection.
    """

    cards: tuple[ContentCard, ...]
    positions: Float[np.ndarray, "points 2"]
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """One content and its nearest neighbours.

    Args:
        role: reason for the choice.
        card: card of the content.
        neighbours: cards of the neighbours, nearest first.
        similarities: cosines of the neighbours, in the same order.
    """

    role: str
    card: ContentCard
    neighbours: tuple[ContentCard, ...]
    similarities: tuple[float, ...]


def projected_contents(
    vectors: Float[np.ndarray, "contents dim"], cards: ContentCards, *, seed: int = 0
) -> ProjectedContents:
    """Projects contents by t-SNE (van der Maaten and Hinton 2008), or by principal components if they are few.

    Contents without a vector (all zeros) are excluded; of more than `MAX_POINTS` contents a sample is drawn.
    """
    rows = np.flatnonzero(np.abs(vectors).sum(axis=1) > 0)
    if len(rows) > MAX_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_POINTS, replace=False))
    method, positions = project(vectors[rows], seed)
    return ProjectedContents(cards=cards.at(rows), positions=positions.astype(np.float64), method=method)


def neighbourhoods(
    task: EvaluationTask, vectors: Float[np.ndarray, "contents dim"], cards: ContentCards
) -> tuple[Neighbourhood, ...]:
    """Returns the neighbours of a popular, a medium and a cold content, and of an artist, as far as there are such."""
    return tuple(
        _neighbourhood(role, row, vectors, _alike(task, row), cards)
        for role, row in examples(task, cards.artist_plays).items()
    )


def examples(task: EvaluationTask, artist_plays: Int[np.ndarray, " contents"]) -> dict[str, int]:
    """Returns example content rows by role, chosen only by plays and not by how well they are ranked.

    Args:
        task: task with the contents.
        artist_plays: training plays of an artist's contents, at the artist's row.
    """
    found = {}
    played = np.flatnonzero(task.is_candidate & ~task.is_cold & (task.train_counts > 0))
    played = played[np.argsort(-task.train_counts[played], kind="stable")]
    if len(played):
        found["well known"] = int(played[0])
    if len(played) > 2:
        found["middling"] = int(played[len(played) // 2])
    cold = np.flatnonzero(task.is_candidate & task.is_cold)
    if len(cold):
        heard = np.bincount(task.ranked_targets.values, minlength=task.num_contents)
        found["cold"] = int(cold[np.argmax(heard[cold])])
    if artist_plays.any():
        found["artist"] = int(np.argmax(artist_plays))
    return found


def _alike(task: EvaluationTask, row: int) -> Bool[np.ndarray, " contents"]:
    """Returns the contents to compare with: artists for an artist, candidates for other contents."""
    if task.kind_codes[row] == KIND_CODES["artist"]:
        return task.kind_codes == KIND_CODES["artist"]
    return task.is_candidate


def _neighbourhood(
    role: str,
    row: int,
    vectors: Float[np.ndarray, "contents dim"],
    among: Bool[np.ndarray, " contents"],
    cards: ContentCards,
) -> Neighbourhood:
    scores = vectors @ vectors[row]
    allowed = among & (np.arange(len(vectors)) != row)
    best = top_k(np.where(allowed, scores, -np.inf)[None], NUM_NEIGHBOURS)[0]
    best = best[best >= 0]
    return Neighbourhood(
        role=role,
        card=cards[row],
        neighbours=cards.at(best),
        similarities=tuple(scores[best].tolist()),
    )
