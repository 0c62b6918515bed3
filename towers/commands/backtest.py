"""`towers retrain action=backtest`: the cycle over past days, beside a frozen network and one trained from scratch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from omegaconf import DictConfig

from towers.assembly.backtest import BacktestPlan, backtest_plan
from towers.assembly.evaluation import EvaluationPlan, evaluation_plan
from towers.commands import train
from towers.commands.night import cycle
from towers.commands.printed import print_table
from towers.config.composing import seen_by
from towers.data.store import Store
from towers.errors import GateRefused, UserError
from towers.evaluation.result import metric_key
from towers.lifecycle.backtest import (
    ANEW,
    SERVED,
    Outcome,
    PastNight,
    figures_of,
    lines,
    summed_up,
    table,
    write_nights,
)
from towers.lifecycle.backtest_page import FILE, write_backtest_page
from towers.lifecycle.lock import held
from towers.lifecycle.watching.watcher import Watch
from towers.manifest import read_json, write_json
from towers.training.run_folder import FINISHED


def backtest(config: DictConfig) -> Path:
    """Replays the cycle in a folder of its own; returns the page. The same command continues after a kill.

    Raises:
        Held: another process replays in this folder.
    """
    plan = backtest_plan(config)
    with held(plan.night.lock, "a backtest", plan.night.waits, print):
        return _replayed(plan)


def _replayed(plan: BacktestPlan) -> Path:
    """Runs all nights, then judges the served, frozen and scratch networks on the days after each."""
    done = [_night(plan, number) for number in range(len(plan.replay.nights))]
    for number in plan.anew_on:
        done[number] = _anew(plan, number, done[number])
    evaluation = evaluation_plan(seen_by("evaluate", plan.night.config))
    store = Store.open(plan.night.folders.stores / plan.night.data)
    key = metric_key(evaluation.main_metric, "discovery")
    nights = [_judged(plan, number, done[number], evaluation, store, key) for number in range(1, len(done))]
    write_nights(nights, key, plan.folder)
    page = plan.folder / FILE
    write_backtest_page(nights, key, list(dict.fromkeys([evaluation.main_metric, key])), page, plan.night.data)
    print_table(table(nights, key))
    print("\n".join(lines(summed_up(nights, key), key)))
    print(f"backtest of {len(nights)} nights: {page}")
    return page


def _night(plan: BacktestPlan, number: int) -> PastNight:
    """Runs one night, unless it is done, and keeps the vectors of all compared networks after it."""
    day = plan.replay.nights[number]
    path = plan.folder / "done" / f"{day}.json"
    if path.exists():
        return PastNight.from_json(read_json(path))
    print(f"night {number} of {len(plan.replay.nights) - 1}: {day}")
    plan.replay.advance(number)
    core_s: dict[str, float] = {}
    before = plan.night.ledger.champion()
    outcome, why = _run(plan, core_s)
    champion, record = plan.night.ledger.champion(), plan.night.ledger.records()[0]
    if champion is None:
        raise UserError(f"{day}: the first night has published nothing, so that there is nothing to go on from: {why}")
    plan.keep_served(number, SERVED)
    for subject, run in plan.beside(record).items():
        plan.keep_run(number, subject, run, plan.night.folders.stores)
    is_own = outcome != "failed"  # otherwise the newest record is that of another night
    night = PastNight(
        date=str(day),
        store=Store.open(plan.night.folders.stores / plan.night.data).fingerprint,
        outcome=outcome,
        why=why,
        version=champion.version,
        core_s=core_s,
        space_id=champion.space_id,
        rules=tuple(record.verdict.get("refused", ())) if outcome == "refused" else (),
        space_kept=before is None or before.space_id == champion.space_id,
        space_why=champion.space_told or "",
        gate={each["rule"]: each for each in record.verdict.get("outcomes", ())} if is_own else {},
    )
    write_json(path, asdict(night))
    return night


def _anew(plan: BacktestPlan, number: int, night: PastNight) -> PastNight:
    """Returns the night with a network trained from scratch on its data, up to its last event."""
    assert night.store is not None  # it was prepared
    stores = plan.stores_of(number, night.store)
    run = train.run_whole(plan.anew_config(stores))
    plan.keep_run(number, ANEW, run, stores)
    finished = read_json(run / FINISHED)
    core_s = finished["core_seconds"] + finished["placement"].get("core_seconds", 0.0)
    return replace(night, core_s={**night.core_s, ANEW: core_s})


def _run(plan: BacktestPlan, core_s: dict[str, float]) -> tuple[Outcome, str]:
    """Runs the cycle for a night; returns its outcome and the reason, and adds its processor time to `core_s`."""
    try:
        with _timed(core_s, SERVED):
            cycle(plan.night, Watch({}, plan.night.state()))  # no watcher hears of past days
    except GateRefused as refused:
        return "refused", str(refused)
    except UserError as failed:
        return "failed", str(failed)
    return "published", ""


def _judged(
    plan: BacktestPlan, number: int, night: PastNight, evaluation: EvaluationPlan, store: Store, key: str
) -> PastNight:
    """Returns the night with the quality of all compared networks on the days that followed."""
    evaluations = plan.judged(number, evaluation, store)
    quality, ratios = figures_of(evaluations, key)
    listeners = max((each.counts["discovery"] for each in evaluations.values()), default=0)
    return replace(night, quality=quality, ratios=ratios, listeners=listeners)


@contextmanager
def _timed(core_s: dict[str, float], name: str) -> Iterator[None]:
    """Adds the processor seconds of the block, child processes that it waited for included."""
    begun = sum(os.times()[:4])
    try:
        yield
    finally:
        core_s[name] = core_s.get(name, 0.0) + sum(os.times()[:4]) - begun
