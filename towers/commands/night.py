"""One night of `towers retrain`: each step is skipped where it is done, so that the same command continues."""

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from towers.assembly.cleaning import origin_of
from towers.assembly.evaluation import EvaluationPlan, evaluation_plan
from towers.assembly.export import export_plan
from towers.assembly.night import Night, NightPlan
from towers.assembly.promotion import evaluation_of
from towers.assembly.twins import judged_night, judged_twin
from towers.commands import evaluate, export, prepare, train
from towers.commands.progress import StageProgress
from towers.config.composing import seen_by
from towers.data.store import CURRENT
from towers.errors import GateRefused, Unreachable, UserError
from towers.lifecycle.dry_run import dry_run
from towers.lifecycle.gate.evidence import Canaries, Evidence
from towers.lifecycle.gate.facts import facts_of
from towers.lifecycle.gate.gate import judge
from towers.lifecycle.lock import Held, held
from towers.lifecycle.pruning import prune
from towers.lifecycle.record import Record
from towers.lifecycle.rollback import finish
from towers.lifecycle.served_check import checked
from towers.lifecycle.switching import publish, put_right
from towers.lifecycle.watching.watcher import Watch
from towers.manifest import read_json
from towers.publishing.describing import space_told
from towers.retrieval.export import Export
from towers.training.run_folder import FINISHED
from towers.training.stopping import Stopped, ends_on_signals


def night(plan: NightPlan) -> None:
    """Runs the cycle once, under a lock; where another night is running, says so and ends without an error, or waits.

    Raises:
        GateRefused: tonight's version is not published; the served one stays.
        Stopped: a signal was received; the same command continues.
    """
    watch = Watch(plan.watchers, plan.state())
    with ends_on_signals(), watch.process(plan.ledger):
        try:
            with held(plan.lock, "a night", plan.waits, print):
                with watch.night(plan.ledger):
                    cycle(plan, watch)
                _told(plan, watch)
        except Held as elsewhere:
            print(elsewhere)
        except Stopped as stopped:
            print(f"towers: {stopped.signal.name}: the night was stopped; the same command goes on", file=sys.stderr)
            raise


def cycle(plan: NightPlan, watch: Watch) -> None:
    """Runs the steps of a night in order, without the lock that keeps nights apart.

    Args:
        plan: plan of the night.
        watch: watchers that are told of each step.

    Raises:
        GateRefused: as `night`.
    """
    before = watch.state.serving
    with StageProgress() as progress:  # first: an interrupted rollback may leave something that cannot be opened
        if told := finish(plan.ledger, plan.sink, progress.update):
            print("\n".join(told))
            watch.put_back(plan.ledger, before)
    with watch.step("dry_run"):
        print("\n".join(dry_run(plan.tried(), plan.headroom)))
    champion = _champion(plan)
    with watch.step("prepare") as facts:
        store = prepare.prepare(seen_by("prepare", plan.config))
        watch.knows(store=store.folder)
        facts.update(fingerprint=store.fingerprint, rows=dict(store.manifest["counts"]))
    tonight = plan.night(store, champion)
    rival = None if tonight.rival is None else tonight.rival.version
    watch.knows(record=tonight.record, rival=rival, rival_twin=tonight.twin)
    if tonight.record.bar is not None:
        raise GateRefused(f"{tonight.record.version} was marked bad ({tonight.record.bar.why}); current stays")
    if tonight.is_done:
        serves = "serves" if tonight.champion == tonight.record else "has served"
        done = f"nothing to publish: {tonight.record.version}, which {serves}, was made of this data"
        print(done)
        _done_before(tonight, watch, done)
        return _ended(tonight, watch)
    tonight.check_comparable()
    with watch.step("data_check") as facts:
        data = Evidence(stage="data", is_first_night=tonight.rival is None, data=tonight.data())
        tonight = _passed(tonight, data, watch, facts)
    with watch.step("twin") as facts:
        tonight, twin = _trained(tonight, tonight.twin_config(), "judged")
        watch.knows(record=tonight.record, twin=twin)
        facts.update(_came_to(twin))
    evaluation = evaluation_plan(seen_by("evaluate", plan.config))
    with watch.step("evaluation") as facts:
        evidence = _judged(tonight, evaluation, twin)
        watch.knows(evaluation=evaluation_of(twin, evaluation.period).parent, means=_means(evidence))
        tonight = _passed(tonight, evidence, watch, facts)
        facts["metrics"] = dict(tonight.record.metrics)
    with watch.step("refit") as facts:
        tonight, refit = _trained(tonight, tonight.refit_config(twin), "refit")
        watch.knows(record=tonight.record, refit=refit)
        facts.update(_came_to(refit))
        evidence = replace(evidence, refit=judged_twin(evaluation, evaluation.protocol(store), refit))
    with watch.step("export") as facts:
        target = _exported(tonight, refit)
        tonight = tonight.exported(target)  # noted first, so that the version is removed with its night
        watch.knows(export=target)
        served = plan.folders.served()
        serving = None if served is None else Export(served, check_files=False)
        evidence = replace(evidence, stage="export", exported=facts_of(Export(target), serving))
        tonight = _passed(tonight, evidence, watch, facts)
        facts.update(version=target.name, space_id=tonight.record.space_id)
    with watch.step("server") as facts:
        evidence = replace(evidence, stage="served", canaries=_asked(tonight, target))
        tonight = _passed(tonight, evidence, watch, facts)
    with watch.step("publish") as facts:
        _published(tonight, target, watch)
        facts["ending"] = watch.state.ending
    return _ended(tonight, watch)


def _champion(plan: NightPlan) -> Record | None:
    """Returns the record of the version that serves, and leads engines to it; null where none serves.

    Raises:
        UserError: none serves, though an earlier version has served with which tonight's would have to be compared.
    """
    with plan.ledger.alone(), StageProgress() as progress:
        champion = plan.ledger.settle()
        told = put_right(plan.ledger, plan.sink, progress.update)
    print("\n".join(told), end="\n" if told else "")
    before = [] if champion is not None or plan.force is not None else plan.ledger.retired()
    if before:
        raise UserError(
            f"{plan.ledger.exports / CURRENT}: leads nowhere, yet {before[0].record.version} has served; put it "
            "back (towers retrain action=rollback), or begin without a comparison (gate.force=true gate.why='TEXT')"
        )
    return champion


def _trained(tonight: Night, training: DictConfig, what: Literal["judged", "refit"]) -> tuple[Night, Path]:
    """Trains; returns the night, whose record names the run from the run's beginning, and the run's folder.

    Raises:
        Unreachable: another store was prepared and trained on meanwhile.
    """
    name = tonight.run_of(training)
    tonight = tonight.knowing(**{what: name})  # a killed run belongs to this night, too
    run = train.run_whole(training)
    if run != tonight.plan.folders.runs / name:
        raise Unreachable(
            f"{run}: was trained on another store than {tonight.store.folder}, which was prepared meanwhile; the same "
            "command begins with the newest"
        )
    return tonight, run


def _judged(tonight: Night, plan: EvaluationPlan, twin: Path) -> Evidence:
    """Evaluates tonight's twin with its page, and both twins on the same window."""
    try:
        evaluate.evaluate(plan, twin)
    except GateRefused as refused:
        print(refused)  # the gate has a rule for it
    with StageProgress() as progress:
        return judged_night(tonight, plan, twin, progress.update)


def _told(plan: NightPlan, watch: Watch) -> None:
    """Notes that the watchers have heard of the night's end; a night killed before this is reported again."""
    with plan.ledger.alone():
        found = watch.state.record and plan.ledger.of_night(watch.state.record.night)
        if found and found.told is False:
            plan.ledger.write(replace(found, told=True))


def _done_before(tonight: Night, watch: Watch, told: str) -> None:
    """Tells the watchers of a night that was published before; if it was killed then, they may not know of it."""
    record = tonight.record
    if record.told is not False or tonight.champion != record:
        watch.knows(ending="nothing", why=told)
        return
    runs = {"twin": record.judged, "refit": record.refit}
    watch.knows(**{name: tonight.plan.folders.runs / run for name, run in runs.items() if run is not None})
    watch.knows(export=tonight.plan.folders.served(), ending="published", why=f"{record.version} was published before")


def _means(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Returns mean metrics of tonight's twin, the champion's and the baselines on the window, for the watchers."""
    twins = {"tonight": evidence.twin, "champion": evidence.champion}
    measured = {name: judged.evaluation for name, judged in twins.items() if judged is not None}
    return {name: one.means() for name, one in {**measured, **evidence.baselines}.items()}


def _came_to(run: Path) -> dict[str, Any]:
    """Returns run name, epoch and seconds of a finished training, for the watchers."""
    finished = read_json(run / FINISHED)
    return {"run": run.name, **{name: finished[name] for name in ("epoch", "seconds") if name in finished}}


def _passed(tonight: Night, evidence: Evidence, watch: Watch, facts: dict[str, Any]) -> Night:
    """Judges the evidence so far; keeps the verdict, and tells the watchers.

    Raises:
        GateRefused: the gate refuses.
    """
    plan = tonight.plan
    verdict = judge(evidence, plan.rules, plan.force)
    tonight = tonight.said(verdict, evidence)
    watch.knows(record=tonight.record)
    facts["refused"] = [outcome.rule for outcome in verdict.refused]
    if evidence.stage == "twins" or not verdict.passed:
        print("\n".join(verdict.lines(is_full=evidence.stage == "twins")))
    if not verdict.passed:
        plan.ledger.remark(tonight.record, "refused", verdict.rules)
        try:
            _pruned(plan)
        except UserError as error:  # the refusal below matters more
            print(error)
        raise GateRefused(f"{tonight.named} is refused by {verdict.rules}; {tonight.stays}")
    return tonight


def _exported(tonight: Night, refit: Path) -> Path:
    """Writes the refit's version, aligned to the space of the served one; does not publish it."""
    target, told = export.written(export_plan(seen_by("export", tonight.plan.config)), refit)
    print(told)
    return target


def _asked(tonight: Night, target: Path) -> Canaries:
    """Sends the same requests to the new and the served version, in the real server."""
    found = checked(target, tonight.plan.folders.served(), tonight.plan.canaries)
    print(found)
    return Canaries(
        asked=found.asked,
        failed=found.failed,
        overlap=found.overlap,
        faults=found.refused,
    )


def _published(tonight: Night, target: Path, watch: Watch) -> None:
    """Fills the engine and publishes the version; one with older data than the served one is not published. Tells the
    watchers."""
    plan, served = tonight.plan, tonight.plan.folders.served()
    if tonight.is_late:
        plan.ledger.remark(tonight.record, "note", f"comes late: its data ends before that of {served and served.name}")
        late = f"{target} comes late: its data ends before that of {served and served.name}, which goes on to serve"
        print(late)
        watch.knows(ending="late", why=late)
        return
    told = "current points to it" if served is None else f"current moves from {served.name} to it"
    space = None if served is None else space_told(Export(served).manifest, Export(target).manifest)
    forced = None if plan.force is None or not tonight.record.verdict.get("refused") else plan.force.why
    with StageProgress() as progress:
        filled = plan.sink.fill(Export(target), progress.update)
    with plan.ledger.alone(), StageProgress() as progress:
        _, lines = publish(
            plan.ledger, plan.sink, Export(target), progress.update, champion=tonight.champion, forced=forced
        )
    done = f"published {target}: {', '.join([told] if space is None else [told, space])}"
    watch.knows(ending="published", why=done)
    print("\n".join(line for line in (filled, *lines, done) if line))


def _ended(tonight: Night, watch: Watch) -> None:
    """Notes the end, and removes what no kept night needs."""
    ledger = tonight.plan.ledger
    with ledger.alone():  # a rollback may be marking it
        record = ledger.of_night(tonight.record.night)  # with the remarks that publishing has made
        if record is not None and record.ended is None:
            ledger.write(replace(record, ended=datetime.now(UTC).isoformat(timespec="seconds")))
    with watch.step("prune"):
        _pruned(tonight.plan)


def _pruned(plan: NightPlan) -> None:
    print(prune(plan.ledger, plan.folders, plan.keep, origin_of, time.time()))
