"""`towers agent`: its configuration to a plan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from towers.config.composing import resolved, save_yaml
from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_list, raw_text
from towers.errors import UserError
from towers.lifecycle.agent.trials import Evaluating
from towers.lifecycle.agent.worlds import Episodes
from towers.policies.journey.plan import PlanSettings

CONFIG = "config.yaml"
ALL = "all"
DECIDE = ("members", "listeners", "days", "slate", "candidates", "own_pull", "reward", "seed", "learner")
"""Keys that decide the result of a training, beside the simulator and the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explaining:
    """Settings of `action=explain`.

    Args:
        user: id of a listener of the store; null: a new listener.
        plan: settings of the plan.
        page: HTML file for the plan; null: none.
        as_json: whether to print JSON.
    """

    user: str | None
    plan: PlanSettings
    page: Path | None
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """Settings of all actions of `towers agent`.

    Args:
        config: configuration of the command.
        folder: folder of the agent, with its versions.
        simulator: folder of the simulator.
        store: folder of the prepared store of the listeners; null: new listeners.
        export: folder of an export; null: none.
        version: name of a version; null: the current one.
        members: numbers of the simulator's models that it is trained in.
        listeners: number of listeners of each world.
        episodes: settings of an episode.
        seed: seed of all random draws.
        evaluating: settings of `action=evaluate`.
        explaining: settings of `action=explain`.
        log: folder of a log to evaluate by; null: simulated listeners.
        shelf: shelf of the log; null: pages have one.
        first: number of each listener's first slates that the agent chooses; null: all.
        out: folder for the exported policy.
        force: whether to use a simulator that was not checked, or did not pass.
        decides: settings that decide the result of a training, as plain values.
        settings: whole configuration, as plain values.
    """

    config: DictConfig
    folder: Path
    simulator: Path
    store: Path | None
    export: Path | None
    version: str | None
    members: tuple[int, ...]
    listeners: int
    episodes: Episodes
    seed: int
    evaluating: Evaluating
    explaining: Explaining
    log: Path | None
    shelf: str | None
    first: int | None
    out: Path
    force: bool
    decides: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def save_config(self) -> Callable[[Path], None]:
        """Function that writes the configuration into a folder."""
        return partial(_save, dict(self.settings))

    def learner(self) -> Any:
        """Builds the learner, which finds the weights; it may load torch."""
        return instantiate(self.config.learner, "learner")


def agent_plan(config: DictConfig) -> AgentPlan:
    """Turns the configuration into a plan.

    Raises:
        UserError: an invalid value; the message names its key.
    """
    settings = resolved(config)
    listeners, seed = value(config, "listeners", int), value(config, "seed", int)
    for key, number, least in (("listeners", listeners, 1), ("seed", seed, 0)):
        if number < least:
            raise UserError(f"{key}={number}: must be at least {least}")
    first = value(config, "by_log.first", int | None)
    if first is not None and first < 1:
        raise UserError(f"by_log.first={first}: must be at least 1, or null for all")
    return AgentPlan(
        config=config,
        folder=Path(value(config, "folder", str)),
        simulator=Path(value(config, "simulation", str)),
        store=_folder(config, "store"),
        export=_folder(config, "export"),
        version=raw_text("version", config.version),
        members=value(config, "members", tuple[int, ...]),
        listeners=listeners,
        episodes=Episodes(
            days=value(config, "days", float),
            slate=value(config, "slate", int),
            candidates=value(config, "candidates", int),
            own_pull=value(config, "own_pull", float),
            weights=value(config, "reward", dict[str, float]),
        ),
        seed=seed,
        evaluating=Evaluating(
            member=value(config, "evaluate.member", int),
            listeners=value(config, "evaluate.listeners", int),
            seeds=value(config, "evaluate.seeds", tuple[int, ...]),
            worlds=_names(config, "evaluate.worlds"),
            baselines=_names(config, "evaluate.baselines"),
            in_worlds=_names(config, "evaluate.in_worlds"),
            workers=value(config, "evaluate.workers", int | None),
        ),
        explaining=Explaining(
            user=raw_text("explain.user", config.explain.user),
            plan=_plan_settings(config),
            page=_folder(config, "explain.page"),
            as_json=value(config, "explain.json", bool),
        ),
        log=_folder(config, "log"),
        shelf=value(config, "by_log.shelf", str | None),
        first=first,
        out=Path(value(config, "out", str)),
        force=value(config, "force", bool),
        decides={key: settings[key] for key in DECIDE},
        settings=settings,
    )


def _folder(config: DictConfig, key: str) -> Path | None:
    given = value(config, key, str | None)
    return None if given is None else Path(given)


def _plan_settings(config: DictConfig) -> PlanSettings:
    try:
        return PlanSettings(weeks=value(config, "explain.weeks", int), a_week=value(config, "explain.a_week", int))
    except UserError as error:
        raise UserError(f"explain: {error}") from None


def _names(config: DictConfig, key: str) -> tuple[str, ...] | None:
    """Reads a list of names; null stands for `all`."""
    group, _, name = key.partition(".")
    given = raw_list(key, config[group][name])
    return None if given in (None, [ALL]) else tuple(given or ())


def _save(settings: dict[str, Any], folder: Path) -> None:
    save_yaml(settings, folder / CONFIG)
