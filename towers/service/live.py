"""The version that is served now, and the swap to the next one when the link to it moves."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from towers.errors import UserError
from towers.service.snapshot import Snapshot

LOG = logging.getLogger("towers.service")
JOIN_S = 1.0
"""Seconds that a thread which opens something is waited for at the end."""
RETRY_S = 30.0
"""Seconds after which a refused version is tried again, as it may have been half copied."""


class Live:
    """The version that is served; `snapshot` is replaced as a whole, so that a request ends with the one it began with.

    Args:
        link: a folder, or a link such as `exports/current`, which is watched.
        open_version: opens, checks and warms a version; raises `UserError` where it must not be served.
        watch_s: seconds between two looks at the link.

    Attributes:
        snapshot: the version that is served now.
        on_swap: functions that are called with each new version once it is served.
        on_refusal: functions that are called when a version could not be opened; retries of the same version do not
            count.
        on_look: functions that are called after each look at the link.
    """

    def __init__(self, link: Path, open_version: Callable[[Path], Snapshot], watch_s: float):
        self._link = link
        self._open = open_version
        self.watch_s = watch_s
        self._refused: tuple[Path, float] | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_swap: list[Callable[[Snapshot], None]] = []
        self.on_refusal: list[Callable[[], None]] = []
        self.on_look: list[Callable[[], None]] = []
        self.snapshot = open_version(link)

    def start(self) -> None:
        """Starts a thread that watches the link."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._watch, name="towers-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops watching; a version that is still being opened is abandoned."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=JOIN_S)
            if self._thread.is_alive():
                LOG.info("a version was still being opened; ended without it")

    def look(self) -> bool:
        """Swaps to the version that the link points to, if it is another and sound; returns whether it swapped."""
        try:
            return self._look()
        finally:
            _call(self.on_look)

    def _look(self) -> bool:
        target, before = self._link, self._refused
        try:
            target = self._link.resolve()
            if target == self.snapshot.export.folder:
                self._refused = None
                return False
            if before is not None and before[0] == target and time.monotonic() < before[1] + RETRY_S:
                return False
            snapshot = self._open(target)
        except Exception as error:  # any fault of it or of the link leaves the old version in service
            if before is not None and before[0] == target and time.monotonic() < before[1] + RETRY_S:
                return False  # a link that cannot be followed
            self._refused = target, time.monotonic()
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            LOG.error("refused %s, still serving %s: %s", target, self.snapshot.version, " ".join(reason.split()))
            if before is None or before[0] != target:
                _call(self.on_refusal)
            return False
        LOG.info("now serving %s instead of %s", snapshot.version, self.snapshot.version)
        self.snapshot = snapshot
        _call(self.on_swap, snapshot)
        return True

    def _watch(self) -> None:
        while not self._stopped.wait(self.watch_s):
            self.look()


def _call(listeners: Sequence[Callable[..., None]], *given: Snapshot) -> None:
    """Calls each function; an error in one, such as a full disk, is logged and does not keep a version from service."""
    for listener in listeners:
        try:
            listener(*given)
        except Exception as error:
            LOG.error("%s: %s", type(error).__name__, " ".join(str(error).split()))
