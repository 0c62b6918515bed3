"""Judges lists with RecTools, in its own environment: `python rectools_peer.py CASES.json ANSWERS.json`.

A case has `k`, `num_contents` (all are candidates), `tags` per content, and per listener `lists`, `targets` and `train`
(contents, repeats included). An answer has one figure a listener by name, null where RecTools gives none, and
`catalogue` with one figure a name. Knows nothing of Towers.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.metrics import (
    MAP,
    MRR,
    NDCG,
    AvgRecPopularity,
    CatalogCoverage,
    HitRate,
    IntraListDiversity,
    MeanInvUserFreq,
    Precision,
    Recall,
    Serendipity,
)
from rectools.metrics.distances import PairwiseDistanceCalculator


class Jaccard(PairwiseDistanceCalculator):
    """1 - |a & b| / |a | b| of the tags; NaN where one of the two has none."""

    def __init__(self, tags):
        self._tags = [set(several) for several in tags]

    def _get_distances_for_item_pairs(self, items_0, items_1):
        pairs = [(self._tags[one], self._tags[other]) for one, other in zip(items_0, items_1, strict=True)]
        return np.array([1 - len(a & b) / len(a | b) if a and b else np.nan for a, b in pairs])


def frame(lists):
    """Returns a table with one row for each content of a list, its rank counted from 1."""
    rows = [(user, item, rank) for user, items in enumerate(lists) for rank, item in enumerate(items, start=1)]
    return pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Rank], dtype=int)


def answer(case):
    """Returns the figures of one case."""
    k, catalog = case["k"], range(case["num_contents"])
    lists, targets, train = frame(case["lists"]), frame(case["targets"]), frame(case["train"])
    found = {
        "recall": Precision(k, r_precision=True).calc_per_user(lists, targets),
        "recall_of_all": Recall(k).calc_per_user(lists, targets),
        "precision": Precision(k).calc_per_user(lists, targets),
        "ndcg": NDCG(k, divide_by_achievable=True).calc_per_user(lists, targets),
        "mrr": MRR(k).calc_per_user(lists, targets),
        "hit_rate": HitRate(k).calc_per_user(lists, targets),
        "map_of_all": MAP(k).calc_per_user(lists, targets),
        "map_of_k": MAP(k, divide_by_k=True).calc_per_user(lists, targets),
        "novelty": MeanInvUserFreq(k).calc_per_user(lists, train),
        "popularity": AvgRecPopularity(k).calc_per_user(lists, train),
        "serendipity": Serendipity(k).calc_per_user(lists, targets, train, catalog),
        "diversity": IntraListDiversity(k, Jaccard(case["tags"])).calc_per_user(lists),
    }
    users = range(len(case["lists"]))
    figures = {
        name: [None if np.isnan(x) else float(x) for x in values.reindex(users)] for name, values in found.items()
    }
    return figures | {"catalogue": {"coverage": CatalogCoverage(k, normalize=True).calc(lists, catalog)}}


if __name__ == "__main__":
    cases, answers = map(Path, sys.argv[1:])
    answers.write_text(json.dumps([answer(case) for case in json.loads(cases.read_text())]))
