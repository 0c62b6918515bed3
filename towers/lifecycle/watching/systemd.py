"""Reports a night to systemd: that it runs, which step it is at, that it makes progress, and how it ended."""

import threading
from typing import Final

from towers.errors import UserError
from towers.lifecycle.watching.night_state import STEPS, NightState, Step
from towers.lifecycle.watching.watcher import Watcher
from towers.movement import Movement
from towers.secrets import masked
from towers.systemd import Notifier

PULSES: Final = 4
"""Signs of life within the watchdog's timeout, or without a watchdog within `extend_s`."""


class Systemd(Watcher):
    """Reports to systemd where the night is a service with a notification socket; elsewhere it does nothing.

    The watchdog (`WatchdogSec=`) gets signs of life as long as the night makes progress: since the last look, a quarter
    of the timeout ago, this process and its descendants have used processor time, read or written. It also gets them
    while the night waits for another one to end, and after its end while other watchers send.

    Args:
        min_core_share: least processor time that counts as progress, as a share of one core.
        min_bytes: bytes read and written that count as progress, too.
        extend_s: seconds by which each sign of life extends a limit of the service such as `RuntimeMaxSec=`; without a
            watchdog there are four signs in that time. Null: limits hold.

    Raises:
        UserError: an invalid value, or `extend_s` below twice the time between two signs of life.
    """

    def __init__(self, min_core_share: float, min_bytes: int, extend_s: float | None):
        if not min_core_share > 0:
            raise UserError(f"watchers.systemd.min_core_share={min_core_share}: must be above 0")
        if min_bytes < 1:
            raise UserError(f"watchers.systemd.min_bytes={min_bytes}: must be at least 1")
        if extend_s is not None and not extend_s > 0:
            raise UserError(f"watchers.systemd.extend_s={extend_s}: must be above 0, or null")
        self._min_core_share, self._min_bytes, self._extend_s = min_core_share, min_bytes, extend_s
        self._notifier = Notifier.of_environment()
        watchdog_s = self._notifier.watchdog_s
        if watchdog_s is not None and extend_s is not None and extend_s < 2 * watchdog_s / PULSES:
            raise UserError(
                f"watchers.systemd.extend_s={extend_s:g}: lapses before the next sign of life, which comes every "
                f"{watchdog_s / PULSES:g} s (WatchdogSec={watchdog_s:g}); give at least {2 * watchdog_s / PULSES:g}"
            )
        within_s = watchdog_s or extend_s
        self._pulse_s = None if within_s is None else within_s / PULSES
        self._runs = False
        self._stopped = threading.Event()
        self._pulse: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Returns whether systemd listens."""
        return self._notifier.is_asked

    def ready(self, state: NightState) -> None:
        """Reports that the service runs, and begins with signs of life."""
        self._notifier.status(f"night of {state.data} ({state.experiment}): waits for its turn")
        self._notifier.ready()
        if self._pulse_s is not None:
            self._notifier.alive()
            self._pulse = threading.Thread(target=self._beat, args=(self._pulse_s,), name="towers-pulse", daemon=True)
            self._pulse.start()

    def begun(self, state: NightState) -> None:
        """Reports that the night has begun."""
        self._runs = True
        self._notifier.status(f"night of {state.data} ({state.experiment}): begun at {state.started:%H:%M} UTC")

    def step_begun(self, state: NightState, step: Step) -> None:
        """Reports a step with its number."""
        at = STEPS.index(step.name) + 1
        self._notifier.status(
            f"night of {state.data} ({state.experiment}): {step.name}, step {at} of {len(STEPS)}, "
            f"since {step.began:%H:%M} UTC"
        )

    def ends(self, state: NightState) -> None:
        """Counts every look from here on as progress: other watchers send what they have to send."""
        self._runs = False

    def ended(self, state: NightState) -> None:
        """Reports the ending and the reason. `close` reports the stop, as from then on `TimeoutStopSec=` holds, and
        other watchers may have much to send."""
        why = f": {masked(state.why)}" if state.why else ""
        self._notifier.status(f"night of {state.data} ({state.experiment}): {state.ending}{why}")

    def put_back(self, state: NightState) -> None:
        """Reports which version serves again."""
        serves = "no version serves" if state.serving is None else f"{state.serving.version} serves again"
        self._notifier.status(f"{state.data}: rolled back; {serves}")

    def close(self) -> None:
        """Reports that the service stops."""
        self._notifier.stopping()
        self._stopped.set()
        if self._pulse is not None:
            self._pulse.join()

    def _beat(self, every_s: float) -> None:
        movement = Movement(self._min_core_share, self._min_bytes)
        while not self._stopped.wait(every_s):
            has_moved = movement.since_last()  # measured while it waits, too, so that no look spans the wait
            if has_moved or not self._runs:
                self._notifier.alive()
                if self._extend_s is not None:
                    self._notifier.extend(self._extend_s)
