"""The ranker that makes a scorer's lists in the least time."""

from towers.evaluation.ranking.products import ProductRanker, ProductScorer, has_a_place
from towers.evaluation.ranking.rankers import DenseRanker, Ranker, Scorer
from towers.evaluation.ranking.shared_order import SparseRanker, SparseScorer
from towers.evaluation.task import EvaluationTask


def ranker_of(task: EvaluationTask, scorer: Scorer) -> Ranker:
    """Lists by what the scorer says of itself: few exceptions, vectors, or else all scores.

    Whichever it is, the lists are those of a `DenseRanker`, but for the last digit of inner products.
    """
    if isinstance(scorer, SparseScorer):
        return SparseRanker(task, scorer)
    if isinstance(scorer, ProductScorer) and has_a_place(task, scorer):
        return ProductRanker(task, scorer)
    return DenseRanker(task, scorer)
