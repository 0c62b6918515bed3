"""Choice of the fastest ranker for a scorer."""

from towers.evaluation.ranking.products import ProductRanker, ProductScorer, has_a_place
from towers.evaluation.ranking.rankers import DenseRanker, Ranker, Scorer
from towers.evaluation.ranking.shared_order import SparseRanker, SparseScorer
from towers.evaluation.task import EvaluationTask


def ranker_of(task: EvaluationTask, scorer: Scorer) -> Ranker:
    """Returns the fastest ranker for a scorer: by sparse exceptions, by vectors, or else by all scores.

    The lists are always those of a `DenseRanker`, except for the last digit of inner products.
    """
    if isinstance(scorer, SparseScorer):
        return SparseRanker(task, scorer)
    if isinstance(scorer, ProductScorer) and has_a_place(task, scorer):
        return ProductRanker(task, scorer)
    return DenseRanker(task, scorer)
