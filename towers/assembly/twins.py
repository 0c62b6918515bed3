"""Judged twins on the window of a night: tonight's and the champion's, each by its own network, on the same store."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from towers.assembly.baselines import evaluate_baselines
from towers.assembly.chances import chance_scorer
from towers.assembly.evaluation import MODEL, EvaluationPlan
from towers.assembly.night import Night
from towers.assembly.promotion import evaluated_checks, evaluation_of
from towers.assembly.run import load_run
from towers.assembly.subject import Subject
from towers.data.refreshed import refreshed_fingerprint
from towers.errors import DataLacks, Unreachable, UserError
from towers.evaluation.checks.future import trained_before
from towers.evaluation.checks.honesty import Check
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.result import Evaluation
from towers.evaluation.saved import cached, fingerprint
from towers.lifecycle.gate.evidence import Evidence, Judged, Window
from towers.training.run_folder import CONFIG_FILE

TWINS = "twins"
"""Folder of cached evaluations of twins, below the folder of all evaluations."""


def judged_twin(
    plan: EvaluationPlan, protocol: EvaluationProtocol, folder: Path, checks: Sequence[Check] | None = None
) -> Judged:
    """Measures a run on the window of tonight's store, even if it was trained on another store.

    Args:
        plan: plan of evaluations.
        protocol: protocol of the window.
        folder: folder of the run.
        checks: self-checks of the evaluation; null: none were made.

    Raises:
        UserError: the run or its store is gone, or it reads other features.
        Unreachable: another store was prepared meanwhile.
    """
    run = load_run(folder, plan.stores, is_refreshed=True)
    if run.store.folder.resolve() != protocol.store.folder.resolve():  # with different rows
        raise Unreachable(
            f"{run.store.folder}: was prepared while {protocol.store.folder} was judged on; the same command begins "
            "with the newest"
        )
    facts = {
        "twin": refreshed_fingerprint(run.trained_on.fingerprint, protocol.store.fingerprint),
        "weights": run.fingerprint,
        "settings": {key: value for key, value in plan.settings.items() if key not in ("baselines", "tuning")},
    }
    text = (folder / CONFIG_FILE).read_text()
    subject = Subject(
        vectors=run, folder=folder, fingerprint=run.fingerprint, evaluations=folder, config=text
    )  # its own evaluations are of its own store
    by_products, by_chance = (
        _kept(plan, protocol, subject, {**facts, "by": by}) for by in ("inner products", "chance of a listen")
    )
    assert by_products is not None
    return Judged(
        name=folder.name,
        window=Window.of(protocol),
        evaluation=by_products,
        trained_before=trained_before(protocol.store, protocol.period, run.provenance),
        by_chance=by_chance,
        checks=None if checks is None else tuple(checks),
    )


def judged_night(
    tonight: Night, plan: EvaluationPlan, twin: Path, on_progress: Callable[[str, int, int], None]
) -> Evidence:
    """Returns the gate's evidence on tonight's twin, the champion's and the baselines.

    Args:
        tonight: night in progress.
        plan: plan of evaluations.
        twin: tonight's twin, already evaluated.
        on_progress: called with the progress of baselines.
    """
    protocol = plan.protocol(tonight.store)
    baselines, _ = evaluate_baselines(
        plan.baselines, plan.tuning, plan.settings, protocol, plan.evaluations / "baselines", on_progress
    )
    champion = None
    if tonight.twin is not None:
        try:
            champion = judged_twin(plan, protocol, tonight.twin)
        except Unreachable:
            raise
        except UserError as error:
            print(f"{tonight.twin}: {error}")  # the gate refuses without it
    return Evidence(
        stage="twins",
        twin=judged_twin(plan, protocol, twin, evaluated_checks(twin, plan.period)),
        champion=champion,
        is_first_night=tonight.rival is None,
        is_adopted=tonight.rival is not None and tonight.rival.judged is None,
        baselines={each.ranker: each for each in baselines},
        main_metric=plan.main_metric,
        data=tonight.data(),
        reached=tonight.reached,
        days=tonight.days_since,
        more=f"towers evaluate checkpoint={twin}; {evaluation_of(twin, plan.period).parent / 'report.html'}",
    )


def _kept(
    plan: EvaluationPlan, protocol: EvaluationProtocol, subject: Subject, facts: dict[str, Any]
) -> Evaluation | None:
    """Returns the cached evaluation, or makes and caches it; null where the data does not allow the chance of a
    listen."""
    compute = partial(_evaluated, plan, protocol, subject, facts["by"])
    store = protocol.store.fingerprint
    try:
        return cached(plan.evaluations / TWINS, fingerprint(facts), compute, store)[0]
    except DataLacks as error:
        print(f"{subject.folder}: judged by inner products alone: {error}")
        return None


def _evaluated(
    plan: EvaluationPlan, protocol: EvaluationProtocol, subject: Subject, by: str
) -> tuple[Evaluation, dict[str, Any]]:
    users, contents = subject.judged_vectors(protocol)
    notes = {"folder": str(subject.folder), "provenance": asdict(subject.provenance)}
    if by == "inner products":
        return protocol.evaluate_vectors(MODEL, users, contents), notes
    scorer = chance_scorer(subject, protocol, users, contents, plan.stores)
    return protocol.evaluate(DenseRanker(protocol.task, scorer)), notes
