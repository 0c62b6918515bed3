"""`towers agent`: a policy of slates for the long term, trained among simulated listeners, judged, explained, exported.

Modules that train a version or draw an evaluation's page are imported only by the action that needs them.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from towers.assembly.agent import AgentPlan, agent_plan
from towers.commands.printed import print_table
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.errors import UserError
from towers.lifecycle.agent.by_log import JudgedByLog, judge_by_log
from towers.lifecycle.agent.evaluating import PAGE, evaluated, write_evaluation
from towers.lifecycle.agent.explaining import Explained, explained, explained_by_export, plan_of
from towers.lifecycle.agent.exporting import write_served
from towers.lifecycle.agent.figures import AgentEvaluation
from towers.lifecycle.agent.logged import LogSettings
from towers.lifecycle.agent.trials import trial_of
from towers.lifecycle.agent.versions import AgentVersion, open_agent
from towers.lifecycle.agent.worlds import audience_of, require_space
from towers.lifecycle.simulator.log import read_store
from towers.lifecycle.simulator.parts import coded_as
from towers.lifecycle.simulator.versions import SimulatorVersion, open_version
from towers.manifest import code_versions, write_json
from towers.policies.journey.plan_told import plan_tables, plan_told
from towers.retrieval.export import Export
from towers.retrieval.show import title_card
from towers.simulation.checks.verdict import require_checked

BY_LOG: Final = "by_log.json"
"""File in a version's folder with its evaluation by a log."""


def run(config: DictConfig) -> None:
    """Runs the action that `action` names."""
    action = value(config, "action", str)
    if action not in ACTIONS:
        raise UserError(f"action={action}: must be one of {', '.join(ACTIONS)}")
    ACTIONS[action](config)


def train(config: DictConfig) -> Path:
    """Trains a version, unless the same one exists already."""
    from towers.assembly.loggers import logger_parts, loggers_of
    from towers.lifecycle.agent.curve import curve
    from towers.lifecycle.agent.training import TrainRequest, train_version

    plan = agent_plan(config)
    simulator, passed = opened(plan)
    parts = logger_parts(config)
    request = TrainRequest(
        folder=plan.folder, simulator=simulator, passed=passed, store=plan.store, members=plan.members,
        listeners=plan.listeners, episodes=plan.episodes, seed=plan.seed, learner=plan.learner,
        decides=plan.decides, save_config=plan.save_config,
        curve=partial(
            curve, loggers=lambda folder: loggers_of(parts, folder, plan.folder.name, dict(plan.settings))
        ),
    )  # fmt: skip
    with StageProgress() as progress:
        made = train_version(request, progress.update)
    version = made.version
    if not made.is_new:
        print(f"nothing to train: {version.folder} is up to date")
        return version.folder
    trained = version.trained
    print(
        f"trained {version.folder} in {trained.seconds:.0f} s: {trained.learner}, {len(trained.members)} worlds of "
        f"{trained.listeners:,} listeners, seed {trained.seed}"
    )
    return version.folder


def evaluate(config: DictConfig) -> AgentEvaluation | JudgedByLog:
    """Compares the version with baselines among simulated listeners, or estimates its value from a log."""
    plan = agent_plan(config)
    simulator, _ = opened(plan)
    version = agent_of(plan, simulator)
    return _among_listeners(plan, simulator, version) if plan.log is None else _by_log(plan, simulator, version)


def explain(config: DictConfig) -> Explained:
    """Prints the slate of a listener's next session with its reasons, and the plan that it begins."""
    plan = agent_plan(config)
    simulator, _ = opened(plan)
    version = agent_of(plan, simulator)
    export = require_space(simulator, plan.export)
    space, asked = simulator.simulator.space, plan.explaining
    if asked.page is not None and (export is None or asked.user is None):
        raise UserError(f"explain.page={asked.page}: the plan needs explain.user and the export that knows them")
    audience = audience_of(simulator, plan.store)
    policy = version.policy(space)
    if plan.store is None and export is not None and asked.user is not None:
        found = explained_by_export(policy, space, export, asked.user, plan.episodes.candidates)
    else:
        found = explained(policy, simulator, audience, plan.episodes, asked.user, plan.seed)
    led = None
    if export is not None and asked.user is not None:
        led = plan_of(policy, space, export, asked.user, asked.plan)
    if asked.page is not None and led is not None and export is not None:
        from towers.lifecycle.journey_report.pages import write_plan_page

        about = {"title": f"Plan for {asked.user}", "agent": version.folder.name, "export": export.version}
        write_plan_page(export, led, about, asked.page)
    if asked.as_json:
        told = None if led is None or export is None else plan_told(export, led)
        print(json.dumps({"agent": version.folder.name, **found.to_json(), "plan": told}, indent=2, ensure_ascii=False))
        return found
    whom = "a new listener" if found.user_id is None else f"listener {found.user_id}, after {found.plays:,} plays"
    print(f"{version.folder.name} for {whom}")
    print_table(found.table(partial(named, export)))
    if led is not None and export is not None:
        for table in plan_tables(export, led, f"{asked.plan.weeks} weeks"):
            print_table(table)
        if asked.page is not None:
            print(f"wrote {asked.page}")
    return found


def export_policy(config: DictConfig) -> Path:
    """Writes the files that a server needs, for an export."""
    plan = agent_plan(config)
    simulator, _ = opened(plan)
    version = agent_of(plan, simulator)
    export = require_space(simulator, plan.export)
    if export is None:
        raise UserError("export=null: give the folder of the export that is served, such as exports/current")
    written = write_served(version, simulator.simulator.space, export, plan.out)
    print(f"{'wrote' if written.is_new else 'nothing to write:'} {written.folder}, for {export.folder}")
    if written.missing:
        print(f"{written.missing:,} contents that the agent knows are not in this export and will not be shown")
    return written.folder


def _among_listeners(plan: AgentPlan, simulator: SimulatorVersion, version: AgentVersion) -> AgentEvaluation:
    """Lets the version serve simulated listeners; prints a comparison with each baseline, and writes a page."""
    from towers.lifecycle.agent_report.pages import write_agent_page
    from towers.lifecycle.agent_report.tables import against_table, worlds_table

    settings = plan.evaluating
    if settings.member in version.trained.members:
        print(f"evaluate.member={settings.member}: the agent was trained in this model, too, so its result is too good")
    with StageProgress() as progress:
        progress.update("reading", 0, 0)
        audience = audience_of(simulator, plan.store, needs=("fitted", "left_out"))
        progress.update("baselines", 0, 0, "the chance of a pick is calibrated")
        trial = trial_of(version, simulator, audience, settings, plan.episodes.weights)
        found = evaluated(trial, progress.update)
    about = {
        "title": f"Agent {version.folder.name}", "agent": str(version.folder), "trained": asdict(version.trained),
        "simulator": simulator.folder.name, "store": audience.fingerprint, "evaluate": asdict(settings),
        "libraries": code_versions(),
    }  # fmt: skip
    page = version.folder / PAGE
    write_agent_page(found, about, page)
    write_evaluation(found, about, version.folder)
    print_table(against_table(found.judged))
    if len(found.worlds) > 1:
        print_table(worlds_table(found))
    print(f"judged {version.folder}: {page}")
    return found


def _by_log(plan: AgentPlan, simulator: SimulatorVersion, version: AgentVersion) -> JudgedByLog:
    """Prints what a log says of the version, or why it says nothing."""
    if plan.log is None or plan.store is None:
        raise UserError(f"log={plan.log}: needs store=, the prepared store of what the same listeners played")
    fitted, trained = simulator.simulator, version.trained
    settings = LogSettings(days=trained.days, reward_weights=trained.weights, shelf=plan.shelf)
    with StageProgress() as progress:
        progress.update("reading", 0, 0)
        listened = read_store(plan.store, fitted.space)
        listening = coded_as(listened.log, fitted.contexts, fitted.devices)
        found = judge_by_log(
            plan.log, listening, fitted.space, version.policy(fitted.space), log=settings, most_steps=plan.first,
            on_progress=progress.update,
        )  # fmt: skip
    about = {"agent": str(version.folder), "log": str(plan.log), "store": listened.fingerprint, "first": plan.first}
    path = version.folder / BY_LOG
    write_json(path, {"about": about, **found.to_json()})
    print("\n".join(found.lines()))
    print(f"judged {version.folder} by {plan.log}: {path}")
    return found


def opened(plan: AgentPlan) -> tuple[SimulatorVersion, bool]:
    """Opens the simulator; returns it, and whether it has passed its check.

    Raises:
        UserError: there is no simulator, it has not passed and `force` is not set, or the given export is of another
            space.
    """
    version = open_version(plan.simulator, "simulation")
    verdict = require_checked(version.folder, plan.force)
    require_space(version, plan.export)
    return version, verdict is not None and verdict.passed


def agent_of(plan: AgentPlan, simulator: SimulatorVersion) -> AgentVersion:
    """Opens the version of the agent that the configuration names.

    Raises:
        UserError: there is none, or it is of another space or simulator.
    """
    version = open_agent(plan.folder, plan.version)
    if version.trained.space_id != simulator.origin.space_id:
        raise UserError(
            f"simulation={plan.simulator}: is of space {simulator.origin.space_id}, and {version.folder} of "
            f"{version.trained.space_id}; train an agent in this space"
        )
    if version.trained.simulator != simulator.folder.name:
        raise UserError(
            f"simulation={plan.simulator}: is the version {simulator.folder.name}, and {version.folder} was trained in "
            f"{version.trained.simulator}; give that one, or train an agent in this one"
        )
    return version


def named(export: Export | None, content_id: str) -> str:
    """Returns a content's title, artists and id, or the id alone where no export knows it."""
    row = -1 if export is None else export.content_ids.get(content_id, -1)
    if export is None or row < 0:
        return content_id
    title, artists, *_ = title_card(export, row)
    return f"{title}, {artists} ({content_id})" if artists else f"{title} ({content_id})"


ACTIONS: dict[str, Callable[[DictConfig], object]] = {
    "train": train,
    "evaluate": evaluate,
    "explain": explain,
    "export": export_policy,
}
"""Actions of the command by their names."""
