"""`towers simulate`: simulated listeners: fitted to an event log, checked, and run forward.

Modules that draw a check's page are imported by that action alone: a run on a serving machine needs none of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from omegaconf import DictConfig

from towers.assembly.simulation import SimulatePlan, simulate_plan
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.data.event_times import shown_time
from towers.errors import GateRefused, UserError
from towers.lifecycle.simulator.fitting import fit_version
from towers.lifecycle.simulator.held_out_file import Left, leave_out
from towers.lifecycle.simulator.impressions import impression_tables
from towers.lifecycle.simulator.log import read_store
from towers.lifecycle.simulator.raw_data import SIMULATED, write_raw_data
from towers.lifecycle.simulator.running import POLICY_ID, SHELF, Offer, Simulated, simulate
from towers.lifecycle.simulator.versions import SimulatorVersion, open_version
from towers.retrieval.export import Export
from towers.simulation.checks.verdict import Verdict, require_checked
from towers.simulation.environment.picking import OWN


def run(config: DictConfig) -> None:
    """Runs the action that `action` names."""
    action = value(config, "action", str)
    if action not in ACTIONS:
        raise UserError(f"action={action}: must be one of {', '.join(ACTIONS)}")
    ACTIONS[action](config)


def hold_out(config: DictConfig) -> Left:
    """Writes the ids of listeners that fits leave out, and prints how to train an export that has not seen them."""
    plan = simulate_plan(config)
    left = leave_out(plan.folder, plan.store, plan.held_out)
    print(f"held out: {left.held_out:,} of {left.listeners:,} listeners; their ids are in {left.path}")
    print("an export that has seen neither them nor the period of the check, and a simulator on it:")
    for command in left.commands:
        print(f"  {command}")
    return left


def fit(config: DictConfig) -> Path:
    """Fits a simulator, unless the same one exists."""
    plan = simulate_plan(config)
    with StageProgress() as progress:
        progress.update("reading", 0, 0)
        made = fit_version(plan.request(), lambda text: progress.update("fit", 0, 0, text))
    if not made.is_new:
        print(f"nothing to fit: {made.folder} is up to date")
        return made.folder
    origin = made.origin
    for line in made.left_out.lines():
        print(line)
    print(
        f"fitted to {origin.plays:,} plays of {origin.listeners:,} listeners in {origin.sessions:,} sessions before "
        f"{shown_time(origin.until_us)}: {made.folder}"
    )
    if origin.held_out_in_export:
        print(
            f"export {origin.export} has seen {origin.held_out_in_export:,} listeners who are held out, so no check "
            "will pass; action=hold_out says how to make one that has not"
        )
    return made.folder


def check(config: DictConfig) -> Verdict:
    """Compares simulated listeners with real ones that neither the simulator nor its export has seen.

    Raises:
        GateRefused: a limit is missed.
    """
    from towers.lifecycle.simulator.checking import PAGE, check_version

    plan = simulate_plan(config)
    version = opened(plan)
    with StageProgress() as progress:
        found = check_version(
            version, plan.store, plan.end_us, plan.check, lambda text: progress.update("check", 0, 0, text)
        )
    verdict = found.verdict
    for limit in verdict.failed:
        print(f"missed: {limit.line()}")
    path, number = version.folder / PAGE, len(verdict.limits)
    if not verdict.passed:
        raise GateRefused(f"{version.folder} misses {len(verdict.failed)} of {number} limits; all are in {path}")
    print(f"{version.folder} keeps all {number} limits: {path}")
    return verdict


def run_days(config: DictConfig) -> Path:
    """Runs simulated listeners forward in time, and writes what they play as raw data."""
    plan = simulate_plan(config)
    version = opened(plan)
    require_checked(version.folder, plan.force)
    if plan.out.exists():
        raise UserError(f"run.out={plan.out}: exists; give another folder or remove it")
    with StageProgress() as progress:
        progress.update("reading", 0, 0)
        listened = read_store(plan.store, version.simulator.space)
        progress.update("listening", 0, 0)
        simulated = simulate(version.simulator, listened.log, plan.run)
    root = plan.root or (None if listened.root is None else Path(listened.root))
    if root is None:
        raise UserError(f"root=null: {plan.store} does not say where its raw data lies; give it as root=FOLDER")
    about = {
        "simulator": str(version.folder), "store": listened.fingerprint, "run": asdict(plan.run),
        "begin": shown_time(simulated.begin_us), "end": shown_time(simulated.end_us),
        "listeners": len(simulated.before.user_ids),
    }  # fmt: skip
    written = write_raw_data(
        plan.out, simulated.log, version.simulator.space, root=root,
        before=simulated.before if plan.with_history else None, impressions=shown_by(simulated, version), about=about,
    )  # fmt: skip
    print(
        f"{len(simulated.before.user_ids):,} listeners from {about['begin']} to {about['end']}: {len(simulated.log):,} "
        f"plays in {len(simulated.log.session_begins):,} sessions, {written.events:,} events"
    )
    for line in told_of_pages(simulated, plan.run.offer, written.impressions):
        print(line)
    print(f"wrote {plan.out}; read it with `towers prepare data.root={plan.out} data.name={plan.out.name}`")
    return plan.out


def shown_by(simulated: Simulated, version: SimulatorVersion) -> Iterator[tuple[str, pa.Table]]:
    """Yields rows for `impressions/` of what listeners were shown, by day."""
    if simulated.pages is not None:
        space = version.simulator.space
        yield from impression_tables(
            simulated.pages, simulated.log, space, prefix=SIMULATED, policy_id=POLICY_ID, shelf=SHELF
        )


def told_of_pages(simulated: Simulated, offer: Offer, impressions: int) -> Iterator[str]:
    """Yields lines on what listeners were shown, or why nothing was."""
    pages, known = simulated.pages, simulated.log.contexts
    if pages is not None:
        picked = int((pages.slot != OWN).sum())
        yield f"a shelf at the start of {len(pages):,} sessions, {picked:,} picked from it: {impressions:,} impressions"
    unknown = [name for name in offer.contexts if name not in known]
    if offer.slate and (unknown or pages is None):
        yield (
            f"{'no impressions: ' if pages is None else ''}run.contexts: the simulator knows no session in "
            f"{', '.join(unknown) or 'none'}, only in {', '.join(name or 'no context' for name in known)}"
        )


def opened(plan: SimulatePlan) -> SimulatorVersion:
    """Opens the simulator that the configuration names.

    Raises:
        UserError: there is none, or the given export is of another space.
    """
    version = open_version(plan.folder)
    if plan.export is not None:
        asked = Export(plan.export)
        if asked.space_id != version.origin.space_id:
            raise UserError(
                f"export={plan.export}: is of space {asked.space_id}, and {version.folder} of "
                f"{version.origin.space_id}; fit a simulator in this space, or leave export out"
            )
    return version


ACTIONS: dict[str, Callable[[DictConfig], object]] = {
    "hold_out": hold_out,
    "fit": fit,
    "check": check,
    "run": run_days,
}
"""Actions of the command by their names."""
