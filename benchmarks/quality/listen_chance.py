"""Measures what the chance of a listen is worth: the familiar and the new on one scale, beside inner products and
plain counts.

    python benchmarks/quality/listen_chance.py --experiment catalogue --seeds 0 1 2
    python benchmarks/quality/listen_chance.py --experiment lastfm1k --period validation

Trains the experiment with every seed, on one thread (finished runs are not trained again), and ranks the whole
catalogue for the listeners of the period: by inner product, by the chance of a listen (for the test period fitted on
validation, for validation on the other half of the listeners), and by the baselines. A listener's figure is the mean
over seeds; differences to the row of the chance are paired over listeners, with 95 % intervals. `among heard` looks for
what was heard among what was heard alone.

    python benchmarks/quality/listen_chance.py --export exports/current

says of lists of 20 for every listener of an export how much of them was heard at each `familiar`, and how many positive
events the chances expect of them.
"""

from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
import torch  # after the number of threads is set
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.quality.cold_content import mean_over_seeds
from towers import api
from towers.assembly.baselines import baselines_of
from towers.assembly.chances import chance_scorer
from towers.assembly.evaluation import MODEL, EvaluationPlan, evaluation_plan
from towers.config.composing import compose
from towers.evaluation.harness import evaluate
from towers.evaluation.intervals import differences_to_each
from towers.evaluation.known import Known
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.rankers import DenseRanker, Scorer
from towers.evaluation.result import Evaluation
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import FEATURES
from towers.retrieval.query import Query, standing_of
from towers.retrieval.search import recommend

BASELINES = ("own_most_played", "item_knn", "ease", "ials", "sessions")
DIAL = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
AMONG_HEARD = "among heard"
KEYS = ("recall@20", "recall@20/familiar", f"recall@20/{AMONG_HEARD}", "recall@20/discovery", "ndcg@10")


class Inner:
    """Inner products as a scorer.

    Args:
        users: vectors of the task's listeners.
        contents: vectors by row.
    """

    name = MODEL

    def __init__(self, users: np.ndarray, contents: np.ndarray):
        self._users, self._contents = users, contents

    def scores(self, positions: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return self._users[positions] @ self._contents.T


class AmongHeard:
    """Another scorer, whose lists hold what the listener has heard alone.

    Args:
        protocol: how all rankers are judged.
        scorer: the other.
    """

    def __init__(self, protocol: EvaluationProtocol, scorer: Scorer):
        self._task, self._scorer, self.name = protocol.task, scorer, scorer.name

    def scores(self, positions: np.ndarray) -> np.ndarray:
        """See `Scorer`; minus infinity for what was not heard."""
        scores = self._scorer.scores(positions)
        heard = self._task.histories.take(positions)
        is_heard = np.zeros(scores.shape, bool)
        is_heard[heard.list_of_value, heard.values] = True
        return np.where(is_heard, scores, -np.inf)


def judged(plan: EvaluationPlan, protocol: EvaluationProtocol, scorer: Scorer) -> Evaluation:
    """Returns slices: `among heard` beside the harness's own."""
    settings = plan.judging.as_keywords()
    found = evaluate(protocol.task, DenseRanker(protocol.task, scorer), **settings)
    heard = evaluate(protocol.task, DenseRanker(protocol.task, AmongHeard(protocol, scorer)), **settings)
    return replace(found, slices={**found.slices, AMONG_HEARD: heard.slices["familiar"]}, catalogue={}, lists={})


def of_seed(base: list[str], seed: int, period: str) -> tuple[list[Evaluation], dict]:
    """Evaluates by the chance of a listen, then by inner product; what the run says of itself."""
    overrides = [*base, f"seed={seed}"]
    folder = api.train(*overrides)
    plan = evaluation_plan(compose("evaluate", [*overrides, f"evaluation.period={period}"]))
    subject = plan.open(folder)
    protocol = plan.protocol(subject.store)
    users, contents = subject.judged_vectors(protocol)
    scorer = chance_scorer(subject, protocol, users, contents, plan.stores)
    found = [judged(plan, protocol, each) for each in (scorer, Inner(users, contents))]
    means = {one.ranker: {key: one.means().get(key) for key in KEYS} for one in found}
    fitted = [
        {
            "window": model.window,
            "heard": model.heard.to_dict(FEATURES),
            "new": model.new.to_dict(FEATURES),
            **model.fitted,
        }
        for model in scorer.models
    ]
    return found, {"seed": seed, "signature": folder.name, "means": means, "fitted": fitted}


def baselines(base: list[str], period: str) -> list[Evaluation]:
    """Returns baselines as `towers evaluate` tunes and fits them."""
    plan = evaluation_plan(compose("evaluate", [*base, f"evaluation.period={period}"]))
    store = plan.prepared.open()
    protocol, validation = plan.protocol(store), Known(store, "validation")
    found = []
    for name, build in baselines_of(compose("evaluate", base).evaluation.baselines, plan.tuning).items():
        if name.replace("-", "_") in BASELINES:
            chosen_by = {"filter_seen": plan.judging.filter_seen, "min_users": plan.judging.min_users}
            scorer, _ = plan.tuning.fit(name, build, protocol.known, validation, **chosen_by)
            found.append(judged(plan, protocol, scorer))
    return found


def dial(folder: Path) -> list[dict[str, float]]:
    """Returns by `familiar` means over listeners: the share of the list that was heard, how many listeners have
    enough of both kinds for the share to be exact, and the sum of the chances."""
    export, found = Export(folder), []
    for familiar in DIAL:
        query, shares, expected, exact = Query(k=20, familiar=familiar), [], [], 0
        for user in range(len(export.user_ids)):
            standing = standing_of(export, user)
            lists = recommend(export, export.user_vectors[user], query, standing)
            assert lists.chances is not None
            share = float(np.isin(lists.rows, standing.heard).mean()) if len(lists.rows) else 0.0
            shares.append(share)
            expected.append(float(lists.chances.sum()))
            exact += share == query.num_familiar / query.k
        figures = {"share_heard": float(np.mean(shares)), "expected_listens": float(np.mean(expected))}
        found.append({"familiar": familiar, **figures, "exact": exact / len(shares)})
    return found


def print_dial(folder: Path) -> None:
    """Prints the figures as a table."""
    rows = dial(folder)
    table = Table("familiar", "share heard", "exact for", "listens expected of 20")
    for row in rows:
        figures = (f"{row['share_heard']:.3f}", f"{row['exact']:.1%}", f"{row['expected_listens']:.2f}")
        table.add_row(f"{row['familiar']:g}", *figures)
    Console(width=100).print(table)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--experiment", default="catalogue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--period", choices=("validation", "test"), default="test")
    parser.add_argument("--export", type=Path, help="of which the dial is shown; nothing is trained")
    add_smallest(parser, experiment="demo", seeds=[0])
    arguments, keys = parser.parse_known_args()
    if arguments.export is not None:
        print_dial(arguments.export)
        return
    base = [f"experiment={arguments.experiment}", "logger=csv", *keys]
    torch.set_num_threads(1)
    api.prepare(*base)
    seeds = [of_seed(base, seed, arguments.period) for seed in arguments.seeds]
    by_chance, by_product = (mean_over_seeds([found[place] for found, _ in seeds]) for place in (0, 1))
    others = [by_product, *baselines(base, arguments.period)]
    means = by_chance.means()
    shown = [key for key in KEYS if key in means]  # a slice with too few listeners has no figure
    differences = differences_to_each(by_chance, others, shown)
    table = Table(f"{arguments.experiment}, {arguments.period}", *shown)
    table.add_row(by_chance.ranker, *(f"{means[key]:.4f}" for key in shown))
    for row in others:
        found = differences[row.ranker]
        cells = (f"{row.means()[key]:.4f} ({found[key].low:+.4f} to {found[key].high:+.4f})" for key in shown)
        table.add_row(row.ranker, *cells)
    Console(width=200).print(table)
    for _, facts in seeds:
        for fitted in facts["fitted"]:
            errors = {name: f"{one['calibration_error']:.1%}" for name, one in fitted["reliability"].items() if one}
            print(f"seed {facts['seed']}, calibration error on listeners that the fit has not seen: {errors}")
    figures: dict[str, dict] = {row.ranker: {"means": row.means()} for row in (by_chance, *others)}
    for name, found in differences.items():
        figures[name]["chance_less_this"] = {key: asdict(difference) for key, difference in found.items()}
    decides = [key for key in keys if not key.startswith("paths.")]
    result = {"overrides": decides, "figures": figures, "runs": [facts for _, facts in seeds]}
    write_result(arguments, f"listen_chance-{arguments.experiment}-{arguments.period}", result)


if __name__ == "__main__":
    main()
