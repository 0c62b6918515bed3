"""Lists for groups by every aggregator of grouprec, and its own judgement of lists: in .venv-peers-grouprec, which has
no `towers`.

    python grouprec_lists.py aggregate GROUPS.npz LISTS.npz
    python grouprec_lists.py judge GROUPS.npz LISTS.npz JUDGED.json

GROUPS has `chances` `[users, contents]`, `targets` `[users, contents]`, and for each group `members/N` (users) and
`contents/N` (that may come); LISTS has for each way to make lists `NAME/N`, contents in their order. `aggregate` writes
those of the aggregators as they come, of `k` contents. `judge` is `grouprec.evaluate`: ndcg@k by its coupled (targets)
and its decoupled (chances) protocol, the mean over groups of the members' mean, least, and least over most.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from grouprec import Dataset, aggregators
from grouprec.eval import evaluate
from grouprec.split import Split

LENSES = ("mean", "min", "minmax")


class Told:
    """A recommender that knows what it says, for `grouprec.evaluate`."""

    def __init__(self, lists, chances):
        self._lists, self._chances = lists, chances
        self.base = self

    def fit(self, dataset):
        """Nothing is to be learnt."""

    def recommend(self, members, k, exclude=None):
        """The list of a group."""
        return self._lists[tuple(members)][:k]

    def score(self, members):
        """Returns the scores of each member for all contents."""
        return self._chances[list(members)]


def groups_of(told):
    """Members and contents of each group."""
    numbers = [name.removeprefix("members/") for name in told if name.startswith("members/")]
    return {number: (told[f"members/{number}"], told[f"contents/{number}"]) for number in numbers}


def aggregate(told, k):
    """`NAME/N`, by every aggregator with its own defaults."""
    found = {}
    for name in aggregators.available():
        for number, (members, contents) in groups_of(told).items():
            scores = told["chances"][np.ix_(members, contents)]
            found[f"{name}/{number}"] = contents[aggregators.get(name).aggregate(scores, k)]
    return found


def judge(told, lists, k):
    """Returns figures by way, protocol and lens."""
    chances, targets = told["chances"], told["targets"]
    everything = pd.DataFrame({"user": np.zeros(chances.shape[1], int), "item": np.arange(chances.shape[1])})
    users, items = np.nonzero(targets)
    test = pd.DataFrame({"user": users, "item": items})
    split = Split(train=Dataset(everything), test=test)
    groups = groups_of(told)
    judged = {}
    for name in sorted({way.rsplit("/", 1)[0] for way in lists}):
        said = {tuple(members): lists[f"{name}/{number}"] for number, (members, _) in groups.items()}
        report = evaluate(
            Told(said, chances), split.train, [list(group) for group in said], split, k=k, metrics=("ndcg",),
            protocol=["coupled", "decoupled"], group_aggregations=LENSES, exclude_seen=False,
        )  # fmt: skip
        judged[name] = {f"{one['protocol']} {one['aggregation']}": one["value"] for one in report.records}
    return judged


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("aggregate", "judge"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--k", type=int, default=50)
    arguments = parser.parse_args()
    told = dict(np.load(arguments.files[0]))
    if arguments.what == "aggregate":
        np.savez(arguments.files[1], **aggregate(told, arguments.k))
    else:
        judged = judge(told, dict(np.load(arguments.files[1])), arguments.k)
        arguments.files[2].write_text(json.dumps(judged))


if __name__ == "__main__":
    main()
