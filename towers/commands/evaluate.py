"""`towers evaluate`: full-ranking metrics of a run or an export, sliced, beside baselines; self-checks; a page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Float
from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.baselines import evaluate_baselines
from towers.assembly.chances import chance_scorer
from towers.assembly.choosing import chosen_run
from towers.assembly.comparison import compared
from towers.assembly.evaluation import MODEL, EvaluationPlan, evaluation_plan
from towers.assembly.pictures import log_pictures, report_of
from towers.assembly.subject import Subject
from towers.commands.progress import StageProgress
from towers.config.overrides import raw_list
from towers.errors import DataLacks
from towers.evaluation import saved
from towers.evaluation.acceptance import acceptance
from towers.evaluation.checks import honesty
from towers.evaluation.checks.all_checks import all_checks
from towers.evaluation.comparison import written
from towers.evaluation.comparison.shown import show
from towers.evaluation.profiles import by_taste, known_of_listeners, listener_profiles, write_profiles
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.report.page import write_page
from towers.evaluation.report.table import costs, table, write
from towers.evaluation.result import Evaluation
from towers.evaluation.slices import divided
from towers.manifest import atomic_file, code_versions, library_versions, read_json

TABLE_WIDTH = 120


def run(config: DictConfig) -> Path:
    """Evaluates the run or export that the configuration names, or compares two."""
    plan = evaluation_plan(config)
    if config.compare is not None:
        return compare_two(plan, raw_list("compare", config.compare) or [])
    return evaluate(plan, chosen_run(config) if config.export is None else Path(str(config.export)))


def evaluate(plan: EvaluationPlan, folder: Path) -> Path:
    """Evaluates the run or export in `folder` unless its evaluation is up to date; prints the tables.

    Returns:
        The folder with metrics.json, Parquet files of all figures, table.txt and report.html.

    Raises:
        GateRefused: the evaluation fails its own checks; all files are written nevertheless.
    """
    subject = plan.open(folder)
    target = subject.evaluations / f"evaluation-{plan.period}"
    facts = {"store": subject.store.fingerprint, "settings": plan.settings, "libraries": library_versions()}
    fingerprint = saved.fingerprint({"subject": subject.fingerprint, **facts})
    if (target / "metrics.json").exists() and (target / "table.txt").exists():
        found = read_json(target / "metrics.json")["metadata"]
        if found["fingerprint"] == fingerprint:
            print(f"nothing to evaluate: {target} is up to date")
            print((target / "table.txt").read_text(), end="")
            return honesty.require_passed(target, [honesty.Check(**check) for check in found["checks"]])
    protocol = plan.protocol(subject.store)
    users, contents = subject.judged_vectors(protocol)
    with StageProgress() as progress:
        baselines, choices = evaluate_baselines(
            plan.baselines, plan.tuning, plan.settings, protocol, plan.evaluations / "baselines", progress.update
        )
    by_chance = _by_chance(plan, subject, protocol, users, contents)
    evaluations = [protocol.evaluate_vectors(MODEL, users, contents), *by_chance, *baselines]
    judged = protocol, evaluations, subject.listeners(contents), users, contents
    checks = all_checks(*judged, subject.provenance)
    known = known_of_listeners(subject.store, protocol.task, protocol.period)
    profiles = listener_profiles(protocol.task, contents, known)
    evaluations = [divided(each, by_taste(profiles)) for each in evaluations]
    # metrics.json is written last; its presence marks completion.
    (target / "metrics.json").unlink(missing_ok=True)
    first = acceptance({each.ranker: each.means() for each in evaluations}, plan.main_metric).lines()
    with _printed(target) as console:
        for line in first:
            console.print(line, style="bold", markup=False)
        for keys in plan.tables:
            console.print(table(evaluations, list(keys)))
        if choices:
            console.print(costs(choices))
        console.print(honesty.table(checks))
    write_profiles(profiles, target / "profiles.parquet")
    report = report_of(subject, protocol, evaluations, contents, checks, choices, plan.main_metric)
    write_page(report, target / "report.html")
    metadata = {"fingerprint": fingerprint, "subject": subject.name, **facts, "libraries": code_versions(),
                "tuning": choices, "checks": [asdict(check) for check in checks]}  # fmt: skip
    write(evaluations, target, metadata, main_metric=plan.main_metric, known_intervals=report.intervals)
    log_pictures(report, subject)
    print(f"evaluated {subject.folder}: {target}, with the page {target / 'report.html'}")
    return honesty.require_passed(target, checks)


def _by_chance(
    plan: EvaluationPlan,
    subject: Subject,
    protocol: EvaluationProtocol,
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
) -> list[Evaluation]:
    """Returns the subject's evaluation by the chance of a listen; where that is impossible, prints why."""
    try:
        scorer = chance_scorer(subject, protocol, users, contents, plan.stores)
    except DataLacks as error:
        print(f"no row by the chance of a listen: {error}")
        return []
    return [protocol.evaluate(DenseRanker(protocol.task, scorer))]


def compare_two(plan: EvaluationPlan, folders: Sequence[str]) -> Path:
    """Prints what changed from the first run or export to the second, and writes it."""
    found = compared(plan, folders)
    before, after, protocol = found.before, found.after, found.protocol
    target = plan.evaluations / f"{before.name}-to-{after.name}-{protocol.period}"
    # This file is written last; its presence marks completion.
    (target / written.FILE).unlink(missing_ok=True)
    with _printed(target) as console:
        if before.fingerprint == after.fingerprint:
            console.print(f"{before.folder} and {after.folder} are the same: nothing can differ", soft_wrap=True)
        show(found.comparison, console)
    two = {"before": before, "after": after}
    metadata = {
        **{name: {"folder": str(one.folder), "fingerprint": one.fingerprint} for name, one in two.items()},
        "store": protocol.store.fingerprint, "settings": plan.settings, "libraries": code_versions(),
    }  # fmt: skip
    written.write(found.comparison, target, metadata)
    print(f"compared {before.folder} with {after.folder}: {target}")
    return target


@contextmanager
def _printed(target: Path) -> Iterator[Console]:
    """Yields a console for a block; its text goes into table.txt, too."""
    console = Console(record=True, width=TABLE_WIDTH, force_terminal=False)
    yield console
    with atomic_file(target / "table.txt") as temporary:
        temporary.write_text(console.export_text())
