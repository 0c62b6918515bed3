"""Watchers of a night: a failing watcher never ends or changes a night."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from towers.errors import GateRefused, UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.record import Record
from towers.lifecycle.rollback import interrupted
from towers.lifecycle.watching.night_state import Ending, NightState, Serving, Step, StepName, StepOutcome
from towers.secrets import masked
from towers.training.stopping import Stopped


class Watcher:
    """Base class of watchers: each method is called at a moment of a night, and does nothing here."""

    @property
    def is_on(self) -> bool:
        """Returns whether it is called at all; a watcher whose deciding keyword is null is not."""
        return True

    def check(self) -> None:
        """Checks, in the dry run, that what it needs later is there.

        Raises:
            UserError: something is missing; the line names the key of `watchers` and the way out.
        """

    def ready(self, state: NightState) -> None:
        """Called when the process has read its configuration; it may still wait for another night to end."""

    def begun(self, state: NightState) -> None:
        """Called when the night has begun: it holds the lock of its data set."""

    def step_begun(self, state: NightState, step: Step) -> None:
        """Called when a step has begun; `state.steps` ends with it."""

    def step_ended(self, state: NightState, step: Step) -> None:
        """Called when a step has ended, well or by `step.error`; `state` has its results."""

    def ends(self, state: NightState) -> None:
        """Called for all watchers when the night has ended, before `ended`, in which a watcher may send for long."""

    def ended(self, state: NightState) -> None:
        """Called when the night has ended; `state.ending` says how."""

    def put_back(self, state: NightState) -> None:
        """Called when a rollback has led readers to an earlier version, `state.serving`. `state.record` is its record,
        whose last remark has the user and the reason, and `state.served_before` is the version that served until
        then."""

    def close(self) -> None:
        """Called once, after everything else, when the process ends, or leaves the night to another that runs."""


class Watch:
    """Calls all watchers of a night, and keeps the state that they are given.

    Args:
        watchers: watchers by their name in the configuration (`watchers.NAME`).
        state: state of the night at its begin.

    Attributes:
        state: present state of the night.
    """

    def __init__(self, watchers: Mapping[str, Watcher], state: NightState):
        self.state = state
        self._watchers = watchers
        self._ledger: Ledger | None = None

    @contextmanager
    def process(self, ledger: Ledger) -> Iterator[None]:
        """Spans the command's work, including the wait for another night. An error before the night has begun, such as
        a disk that cannot be written to, is reported as its end; a signal during the wait for another night is not.

        Args:
            ledger: ledger, which knows what serves.
        """
        try:
            self._tell(lambda each: each.ready(self.state))
            yield
        except Exception as error:
            if self.state.ended is None:
                self._end(ledger, outcome_of(error), one_line(error))
            raise
        finally:
            self._tell(lambda each: each.close())

    @contextmanager
    def night(self, ledger: Ledger) -> Iterator[None]:
        """Spans the night itself; its ending is one given to `knows`, or follows from the exception that ended it.

        Args:
            ledger: ledger, which knows what serves.
        """
        self._ledger = ledger
        self.knows(served_before=serving(ledger), serving=serving(ledger))
        try:
            self._tell(lambda each: each.begun(self.state))
            yield
        except BaseException as error:
            told = one_line(error)  # after the night's own message, such as that of a published version
            self._end(ledger, outcome_of(error), f"{self.state.why}; then: {told}" if self.state.why else told)
            raise
        self._end(ledger, self.state.ending or "nothing", self.state.why)

    @contextmanager
    def step(self, name: StepName) -> Iterator[dict[str, Any]]:
        """Spans a step.

        Args:
            name: name of the step.

        Yields:
            An empty dictionary for facts of the step.
        """
        facts: dict[str, Any] = {}
        step = Step(name=name, began=datetime.now(UTC))
        self.knows(steps=(*self.state.steps, step))
        outcome: StepOutcome = "ok"
        error: str | None = None
        try:
            self._tell(lambda each: each.step_begun(self.state, step))
            yield facts
        except BaseException as raised:
            outcome, error = outcome_of(raised), one_line(raised)
            raise
        finally:
            done = replace(step, ended=datetime.now(UTC), outcome=outcome, error=error, facts=facts)
            self.knows(steps=(*self.state.steps[:-1], done))
            if self._ledger is not None:  # a step publishes, and a rollback does not wait for a night
                self.knows(serving=serving(self._ledger))
            self._tell(lambda each: each.step_ended(self.state, done))

    def knows(self, **facts: Any) -> None:
        """Updates fields of the state by name."""
        self.state = replace(self.state, **facts)

    def put_back(self, ledger: Ledger, before: Serving | None) -> None:
        """Reports a rollback, unless nothing has moved. A running night continues with the version that serves now.

        Args:
            ledger: ledger, which knows what serves.
            before: version that served before it.
        """
        now = serving(ledger)
        if now is None or (before is not None and now.version == before.version):
            return
        record: Record | None = None
        with suppress(UserError, OSError):  # the rollback is done; the night reports an unreadable record
            record = ledger.champion()
        told = replace(self.state, record=record, served_before=before, serving=now)
        self._tell(lambda each: each.put_back(told))
        self.knows(served_before=now, serving=now)

    def _end(self, ledger: Ledger, ending: Ending, why: str) -> None:
        self.knows(serving=serving(ledger), ending=ending, why=why, ended=datetime.now(UTC))
        if self.state.record is not None:
            with suppress(UserError, OSError):  # an unreadable record must not hide what ended the night
                self.knows(record=ledger.of_night(self.state.record.night) or self.state.record)
        try:
            self._tell(lambda each: each.ends(self.state))
        finally:  # a signal meanwhile waits until all are called
            self._tell(lambda each: each.ended(self.state))

    def _tell(self, tell: Callable[[Watcher], None]) -> None:
        """Calls all watchers; a signal meanwhile ends the night once all are called."""
        signals: list[BaseException] = []
        for name, watcher in self._watchers.items():
            try:
                tell(watcher)
            except Exception as error:  # a watcher must not end the night
                print(f"watchers.{name}: {one_line(error)}; the night goes on", file=sys.stderr, flush=True)
            except (KeyboardInterrupt, SystemExit) as signal:
                signals.append(signal)
        if signals:
            raise signals[0]


def one_line(error: BaseException) -> str:
    """Returns an error in one line for people, secrets masked: its message, with its class unless it was written for
    people."""
    said = " ".join(masked(str(error)).split())
    if isinstance(error, Stopped):
        return f"stopped by {error.signal.name}"
    if isinstance(error, KeyboardInterrupt):
        return "stopped from the terminal"
    if isinstance(error, (GateRefused, UserError)):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def outcome_of(error: BaseException) -> Literal["refused", "failed", "stopped"]:
    """Returns the outcome of a step, and of the night, that an exception ends."""
    if isinstance(error, GateRefused):
        return "refused"
    return "failed" if isinstance(error, Exception) else "stopped"  # KeyboardInterrupt, and SystemExit of a signal


def serving(ledger: Ledger) -> Serving | None:
    """Returns the served version, or the one that served when an interrupted rollback began; null where none serves, or
    where its files cannot be read, which the night itself reports."""
    try:
        left = interrupted(ledger)
        return Serving.of(ledger) if left is None else Serving.at(left, None)
    except (UserError, OSError, KeyError, ValueError):
        return None
