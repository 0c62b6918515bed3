"""Fitted simulators on disk: a folder of versions, each complete, and a link to the newest.

```
simulators/NAME/held_out.txt            listeners whom fits leave out
simulators/NAME/<fingerprint>/fit.json  what it was fitted to
simulators/NAME/<fingerprint>/config.yaml
simulators/NAME/<fingerprint>/model/    its parameters and its space
simulators/NAME/<fingerprint>/check.json, report.html   once it was checked
simulators/NAME/current -> <fingerprint>                swapped last
```
The name of a version is a digest of all that decides it, so the same fit is found and not repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from towers.errors import UserError
from towers.manifest import atomic_directory, digest_of, digest_of_file, point_to, read_json, write_json
from towers.simulation.listeners import session_log
from towers.simulation.listeners.model import MODEL, Simulator

FORMAT: Final = 1
CURRENT, ABOUT = "current", "fit.json"
NAME_LENGTH: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a simulator was fitted to.

    Args:
        export: version of the export.
        space_id: space of its vectors.
        trained_until_us: end of the export's training, in microseconds since 1970; null where unknown.
        as_of_us: time of the last event that the export knows; null where unknown.
        held_out_in_export: number of held-out listeners that the export knows.
        store: fingerprint of the prepared store.
        root: folder of the store's raw data; null where unknown.
        until_us: exclusive end of what was read.
        share: share of the listeners that was left out.
        seed: seed of their choice.
        listeners: number of listeners that were read.
        plays: number of their plays.
        sessions: number of their sessions.
        left_out: numbers of events that could not be used, by reason.
    """

    export: str
    space_id: str
    trained_until_us: int | None
    as_of_us: int | None
    held_out_in_export: int
    store: str
    root: str | None
    until_us: int
    share: float
    seed: int
    listeners: int
    plays: int
    sessions: int
    left_out: Mapping[str, int]

    @property
    def has_seen_period(self) -> bool:
        """Returns whether the export has seen events after the fit, or may have."""
        until_us = (self.trained_until_us, self.as_of_us)
        return any(each is None or each > self.until_us for each in until_us)


@dataclass(frozen=True, kw_only=True)
class SimulatorVersion:
    """A version, opened.

    Args:
        folder: folder of the version.
        origin: what it was fitted to.
    """

    folder: Path
    origin: Origin

    @cached_property
    def simulator(self) -> Simulator:
        """Parameters of the simulator, read at first use."""
        return Simulator.read(self.folder / MODEL)


def name_of(decides: Mapping[str, Any]) -> str:
    """Returns the name of a version.

    Args:
        decides: all that decides the fit, as JSON values; a digest of the listeners' model code is added.
    """
    code = {path.name: digest_of_file(path) for path in sorted(Path(session_log.__file__).parent.glob("*.py"))}
    return digest_of({"format": FORMAT, "code": code, **decides})[:NAME_LENGTH]


def write_version(
    folder: Path, name: str, simulator: Simulator, origin: Origin, save_config: Callable[[Path], None]
) -> Path:
    """Writes a version atomically, and lets `current` point to it.

    Args:
        folder: folder of all versions.
        name: name of this version.
        simulator: fitted simulator.
        origin: what it was fitted to.
        save_config: writes the resolved configuration into a given folder.

    Returns:
        The folder of the version.
    """
    target = folder / name
    with atomic_directory(target) as temporary:
        simulator.write(temporary / MODEL)
        save_config(temporary)
        write_json(temporary / ABOUT, {"format": FORMAT, **asdict(origin)})
    point_to(folder / CURRENT, target)
    return target


def open_version(folder: Path, key: str = "folder") -> SimulatorVersion:
    """Opens a version.

    Args:
        folder: folder of all versions, whose current one is opened, or of one.
        key: key of the configuration that names the folder, for messages.

    Raises:
        UserError: there is none, or it has another format.
    """
    found = next((path for path in (folder, folder / CURRENT) if (path / ABOUT).exists()), None)
    if found is None:
        raise UserError(f"{key}={folder}: no simulator here; fit one with `towers simulate action=fit`")
    about = read_json(found / ABOUT)
    if about.pop("format", None) != FORMAT:
        raise UserError(f"{found / ABOUT}: has another format than {FORMAT}; fit the simulator again")
    try:
        return SimulatorVersion(folder=found.resolve(), origin=Origin(**about))
    except TypeError:
        raise UserError(f"{found / ABOUT}: changed since it was written; fit the simulator again") from None
