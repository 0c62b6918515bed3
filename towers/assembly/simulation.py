"""`towers simulate`: its configuration to a plan."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from towers.config.composing import resolved, save_yaml
from towers.config.instantiate import instantiate, value
from towers.data.event_times import instant_us
from towers.errors import UserError
from towers.lifecycle.simulator.fitting import FitRequest
from towers.lifecycle.simulator.parts import HeldOut
from towers.lifecycle.simulator.running import Offer, Run
from towers.simulation.checks.check import CheckSettings
from towers.simulation.listeners.fitting import FitSettings

CONFIG = "config.yaml"
EXPORT = Path("exports") / "current"
"""Export in a simulator's folder that has not seen the held-out listeners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatePlan:
    """Plan of all actions of `towers simulate`.

    Args:
        folder: folder of the simulator, with its versions.
        store: folder of the prepared store of all listeners.
        export: folder of the export that was named; null: the one in the simulator's folder.
        until_us: time where the fit ends and the check begins, in microseconds since 1970, UTC; null: where the
            export's training ends.
        end_us: exclusive end of the check; null: the end of the log.
        held_out: rule for the listeners that a fit leaves out.
        fit: settings of the fit.
        check: settings of the comparison of real and simulated listeners.
        run: settings of a simulation.
        out: folder for the simulated events.
        with_history: whether the real events before are written, too.
        root: folder of the real data; null: the one that the store names.
        force: whether to use a simulator that was not checked, or did not pass.
        settings: settings that decide a fit, as plain values.
        save_config: writes the configuration into a folder.
    """

    folder: Path
    store: Path
    export: Path | None
    until_us: int | None
    end_us: int | None
    held_out: HeldOut
    fit: FitSettings
    check: CheckSettings
    run: Run
    out: Path
    with_history: bool
    root: Path | None
    force: bool
    settings: dict[str, Any]
    save_config: Callable[[Path], None]

    def request(self) -> FitRequest:
        """Returns the request for a fit."""
        return FitRequest(
            folder=self.folder,
            store=self.store,
            export=self.export or self.folder / EXPORT,
            until_us=self.until_us,
            held_out=self.held_out,
            settings=self.fit,
            decides=self.settings,
            save_config=self.save_config,
        )


def simulate_plan(config: DictConfig) -> SimulatePlan:
    """Turns the configuration into a plan.

    Raises:
        UserError: an invalid value; the message names its key.
    """
    store = value(config, "store", str | None)
    if store is None:
        raise UserError("store=null: give the folder of a prepared store of all listeners, as store=stores/NAME")
    export, root = (value(config, key, str | None) for key in ("export", "root"))
    settings = resolved(config)
    return SimulatePlan(
        folder=Path(value(config, "folder", str)),
        store=Path(store),
        export=None if export is None else Path(export),
        until_us=_instant(config, "until"),
        end_us=_instant(config, "end"),
        held_out=instantiate(config.held_out, "held_out"),
        fit=instantiate(config.fit, "fit"),
        check=instantiate(config.check, "check"),
        run=Run(
            days=value(config, "run.days", float),
            listeners=value(config, "run.listeners", int | None),
            begin_us=_instant(config, "run.from"),
            member=value(config, "run.member", int | None),
            seed=value(config, "run.seed", int),
            offer=Offer(
                slate=value(config, "run.slate", int),
                candidates=value(config, "run.candidates", int),
                contexts=value(config, "run.contexts", tuple[str, ...]),
                own_pull=value(config, "run.own_pull", float),
            ),
        ),
        out=Path(value(config, "run.out", str)),
        with_history=value(config, "run.history", bool),
        root=None if root is None else Path(root),
        force=value(config, "force", bool),
        settings={key: settings[key] for key in ("held_out", "fit")},
        save_config=partial(_save, settings),
    )


def _save(settings: dict[str, Any], folder: Path) -> None:
    save_yaml(settings, folder / CONFIG)


def _instant(config: DictConfig, key: str) -> int | None:
    """Reads a time in microseconds since 1970; null where the key is null."""
    text = value(config, key, str | None)
    return None if text is None else instant_us(key, text)
