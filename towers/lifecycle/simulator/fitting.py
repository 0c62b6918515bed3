"""Fits a simulator to a store's listening in the space of an export, and writes a version of it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from towers.data.store import Store
from towers.errors import UserError
from towers.lifecycle.simulator.log import Listened, read_store
from towers.lifecycle.simulator.parts import HeldOut, fitted_part
from towers.lifecycle.simulator.versions import ABOUT, Origin, name_of, open_version, write_version
from towers.manifest import library_versions
from towers.retrieval.export import Export
from towers.simulation.listeners.export_space import space_of
from towers.simulation.listeners.fitting import FitSettings, fit
from towers.simulation.listeners.raw_events import LeftOut
from towers.simulation.listeners.session_log import SessionLog


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """Settings of a fit.

    Args:
        folder: folder of the simulator, with its versions.
        store: folder of the prepared store of all listeners.
        export: folder of the export.
        until_us: exclusive end of what is read, in microseconds since 1970, UTC; null: the end of the export's
            training.
        held_out: rule for the listeners that it leaves out.
        settings: settings of the fit.
        decides: settings as plain values, for the version's name.
        save_config: writes the configuration into a given folder.
    """

    folder: Path
    store: Path
    export: Path
    until_us: int | None
    held_out: HeldOut
    settings: FitSettings
    decides: Mapping[str, Any]
    save_config: Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Result of a request.

    Args:
        folder: folder of the version.
        origin: what it was fitted to.
        is_new: whether it was fitted now; else the same one existed before.
    """

    folder: Path
    origin: Origin
    is_new: bool

    @property
    def left_out(self) -> LeftOut:
        """Numbers of events that could not be used."""
        return LeftOut(**self.origin.left_out)


def fit_version(request: FitRequest, progress: Callable[[str], None]) -> Fitted:
    """Fits a simulator, unless the same one exists, and lets `current` point to it.

    Args:
        request: settings of the fit.
        progress: called with the progress in words.

    Raises:
        UserError: a store without sessions or times, one with fewer listeners than a fit needs, an export without named
            regions, or one that does not say until when it was trained.
    """
    export = Export(request.export)
    until_us = request.until_us if request.until_us is not None else export.provenance.trained_until_us
    if until_us is None:
        raise UserError(
            f"until=null: export {request.export} does not say until when it was trained; give the day from which on "
            "the simulator is to be checked, as until=2026-06-29"
        )
    store = Store.open(request.store).fingerprint
    name = name_of(
        {**request.decides, "export": [export.version, export.space_id], "store": store, "until_us": until_us,
         "libraries": library_versions()}
    )  # fmt: skip
    if (request.folder / name / ABOUT).exists():
        version = open_version(request.folder / name)
        return Fitted(folder=version.folder, origin=version.origin, is_new=False)
    space = space_of(export)
    listened = read_store(request.store, space)
    part = fitted_part(listened.log, request.held_out, until_us)
    origin = _origin(request, export, listened, part, until_us)
    simulator = fit(part, space, request.settings, until_us, progress)
    folder = write_version(request.folder, name, simulator, origin, request.save_config)
    return Fitted(folder=folder, origin=origin, is_new=True)


def _origin(request: FitRequest, export: Export, listened: Listened, part: SessionLog, until_us: int) -> Origin:
    held_out = request.held_out.among(listened.log.user_ids)
    out_ids = [listened.log.user_ids[row] for row in np.flatnonzero(held_out).tolist()]
    return Origin(
        export=export.version,
        space_id=export.space_id,
        trained_until_us=export.provenance.trained_until_us,
        as_of_us=export.until_us,
        held_out_in_export=int((export.user_ids.rows(out_ids) >= 0).sum()),
        store=listened.fingerprint,
        root=listened.root,
        until_us=until_us,
        share=request.held_out.share,
        seed=request.held_out.seed,
        listeners=len(part.user_ids),
        plays=len(part),
        sessions=len(part.session_begins),
        left_out=asdict(listened.left_out),
    )
