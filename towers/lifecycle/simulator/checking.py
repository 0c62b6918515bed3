"""Check of a simulator's version by listeners and days that its fit has not seen, written beside the version."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from towers.lifecycle.simulation_report.pages import write_check_page
from towers.lifecycle.simulator.log import read_store
from towers.lifecycle.simulator.parts import HeldOut, Period, checked_part, coded_as, fitted_part
from towers.lifecycle.simulator.versions import SimulatorVersion
from towers.manifest import code_versions
from towers.simulation.checks.check import Checked, CheckSettings, check
from towers.simulation.checks.skip_prediction import SkipData
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.replay import record
from towers.simulation.listeners.rollout import listen
from towers.simulation.listeners.session_log import SKIP, SessionLog
from towers.simulation.listeners.space import Space

PAGE: Final = "report.html"
"""File name of the check's page, in the version's folder beside `check.json`."""


def check_version(
    version: SimulatorVersion, store: Path, end_us: int | None, settings: CheckSettings, progress: Callable[[str], None]
) -> Checked:
    """Lets the held-out listeners run freely through the time after the fit, by every model, and compares.

    Args:
        version: version of the simulator; `check.json` and a page are written into its folder.
        store: folder of the prepared store of all listeners.
        end_us: exclusive end of the period, in microseconds since 1970, UTC; null: just after the last play.
        settings: settings of the check.
        progress: called with the progress in words.

    Raises:
        UserError: the store cannot be read, no held-out listener plays in the period, or as for `check`.
    """
    origin, simulator = version.origin, version.simulator
    listened = read_store(store, simulator.space)
    log = coded_as(listened.log, simulator.contexts, simulator.devices)
    held_out = HeldOut(share=origin.share, seed=origin.seed)
    period = checked_part(log, held_out, origin.until_us, end_us)
    simulated = []
    for number, model in enumerate(simulator.members):
        progress(f"listening, model {number + 1} of {len(simulator.members)}")
        simulated.append(
            listen(model, simulator.space, period.before, period.begin_us, period.end_us, settings.seed + number)
        )
    progress("predicting skips")
    skips = skip_data(simulator, fitted_part(log, held_out, origin.until_us), period)
    found = check(
        period.real, simulated, period.before, simulator.space, period.begin_us, period.end_us, skips=skips,
        seen_listeners=origin.held_out_in_export, seen_period=origin.has_seen_period, settings=settings,
        progress=progress,
    )  # fmt: skip
    about = {
        "simulator": version.folder.name, "fit": asdict(origin), "store": listened.fingerprint,
        "begin_us": period.begin_us, "end_us": period.end_us, "settings": asdict(settings),
        "libraries": code_versions(),
    }  # fmt: skip
    # The page is written before check.json, so that a verdict always has its page.
    write_check_page(found, {"title": f"Simulated listeners, {version.folder.name}", **about}, version.folder / PAGE)
    found.write(version.folder, about)
    return found


def skip_data(simulator: Simulator, fitted: SessionLog, period: Period) -> SkipData:
    """Computes the simulator's chances of a skip for every real play of a period, each before the play.

    A listener's trait is estimated from plays before the period. A classifier may know what the simulator reads of each
    play, and the share of earlier plays that the listener has skipped.

    Args:
        simulator: simulator whose central model gives the chances.
        fitted: plays that the simulator was fitted to.
        period: period of the check.
    """
    model, space, before = simulator.central, simulator.space, period.before
    whole = before.followed_by(period.real)
    is_real = whole.start_us >= period.begin_us
    read, features = _read(simulator, whole, space)
    number = len(whole.user_ids)
    trait, _ = model.response.chances["skip"].traits(
        read[~is_real], whole.outcome[~is_real] == SKIP, whole.listener[~is_real], number
    )
    chance = model.response.skip_chance(read[is_real], trait[whole.listener[is_real]])
    return SkipData(
        predicted=chance,
        features=features[is_real],
        is_skip=whole.outcome[is_real] == SKIP,
        listener=whole.listener[is_real],
        fit_features=_read(simulator, fitted, space)[1],
        fit_is_skip=fitted.outcome == SKIP,
    )


def _read(
    simulator: Simulator, log: SessionLog, space: Space
) -> tuple[Float[np.ndarray, "plays design"], Float[np.ndarray, "plays features"]]:
    """Returns what the simulator reads of each play before it, and what a classifier may know of it."""
    model = simulator.central
    seen = record(log, space, model.drift)
    own = np.stack([log.context, log.device, _skip_share(log)], axis=1)
    features = np.concatenate([seen.of_content, seen.of_moment, own], axis=1, dtype=np.float32)
    return model.response.design(seen.of_content, seen.of_moment, log.context), features


def _skip_share(log: SessionLog) -> Float[np.ndarray, " plays"]:
    """Returns, for each play, the share of the listener's earlier plays that were skipped; NaN for the first."""
    is_skip = (log.outcome == SKIP).astype(np.int64)
    skips = np.cumsum(is_skip) - is_skip
    begins = np.searchsorted(log.listener, log.listener, "left")
    earlier = np.arange(len(log)) - begins
    return np.where(earlier > 0, (skips - skips[begins]) / np.maximum(earlier, 1), np.nan)
