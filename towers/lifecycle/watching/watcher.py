"""Who watches a night, and how they are told: what a watcher does wrong never ends or changes a night."""

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
    """Base of all watchers: each method is a moment of a night, and does nothing here."""

    @property
    def is_on(self) -> bool:
        """Returns whether it is told anything; one whose deciding keyword is null is not."""
        return True

    def check(self) -> None:
        """Looks, in the dry run, at whether what is needed later is there.

        Raises:
            UserError: something is not; the line names the key of `watchers` and the way out.
        """

    def ready(self, state: NightState) -> None:
        """The process has read its configuration; it may still wait for another night to end."""

    def begun(self, state: NightState) -> None:
        """The night has begun: it holds the lock of its data set."""

    def step_begun(self, state: NightState, step: Step) -> None:
        """A step has begun; `state.steps` ends with it."""

    def step_ended(self, state: NightState, step: Step) -> None:
        """A step has ended, well or by `step.error`; `state` knows what it made."""

    def ends(self, state: NightState) -> None:
        """The night has ended; all are told by this before the first is told by `ended`, where it may send for long."""

    def ended(self, state: NightState) -> None:
        """The night has ended as `state.ending` says."""

    def put_back(self, state: NightState) -> None:
        """A roll back has led readers to an earlier version: `state.serving`; `state.record` is its record, whose last
        remark says who did it and why, and `state.served_before` is what served until then."""

    def close(self) -> None:
        """The process ends, or leaves the night to another that runs; called once, after everything else."""


class Watch:
    """Tells all watchers of a night what happens, and keeps what they are told.

    Args:
        watchers: by their name in the configuration (`watchers.NAME`).
        state: of the night, as its beginning knows it.

    Attributes:
        state: of the night, as far as it has come.
    """

    def __init__(self, watchers: Mapping[str, Watcher], state: NightState):
        self.state = state
        self._watchers = watchers
        self._ledger: Ledger | None = None

    @contextmanager
    def process(self, ledger: Ledger) -> Iterator[None]:
        """Spans what the command does, the wait for another night included. An error before the night has begun, such
        as a disk that cannot be written to, is told as its end; a signal while another night is waited for is not.

        Args:
            ledger: that knows what serves.
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
        """Spans the night itself, whatever ends it; the ending is what `knows` was told, or follows from the error.

        Args:
            ledger: that knows what serves.
        """
        self._ledger = ledger
        self.knows(served_before=serving(ledger), serving=serving(ledger))
        try:
            self._tell(lambda each: each.begun(self.state))
            yield
        except BaseException as error:
            told = one_line(error)  # after what the night had come to, such as a version that it has published
            self._end(ledger, outcome_of(error), f"{self.state.why}; then: {told}" if self.state.why else told)
            raise
        self._end(ledger, self.state.ending or "nothing", self.state.why)

    @contextmanager
    def step(self, name: StepName) -> Iterator[dict[str, Any]]:
        """Spans a step.

        Args:
            name: of the step.

        Yields:
            An empty dictionary, into which the step writes facts about itself.
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
            if self._ledger is not None:  # a step publishes, and a roll back does not wait for a night
                self.knows(serving=serving(self._ledger))
            self._tell(lambda each: each.step_ended(self.state, done))

    def knows(self, **facts: Any) -> None:
        """Adds to the state, by the names of its fields."""
        self.state = replace(self.state, **facts)

    def put_back(self, ledger: Ledger, before: Serving | None) -> None:
        """Tells of a roll back, unless nothing has moved. A night goes on with what serves now.

        Args:
            ledger: that knows what serves.
            before: what served before it.
        """
        now = serving(ledger)
        if now is None or (before is not None and now.version == before.version):
            return
        record: Record | None = None
        with suppress(UserError, OSError):  # the roll back is done; a record that cannot be read is told by the night
            record = ledger.champion()
        told = replace(self.state, record=record, served_before=before, serving=now)
        self._tell(lambda each: each.put_back(told))
        self.knows(served_before=now, serving=now)

    def _end(self, ledger: Ledger, ending: Ending, why: str) -> None:
        self.knows(serving=serving(ledger), ending=ending, why=why, ended=datetime.now(UTC))
        if self.state.record is not None:
            with suppress(UserError, OSError):  # a record that cannot be read must not hide what ended the night
                self.knows(record=ledger.of_night(self.state.record.night) or self.state.record)
        try:
            self._tell(lambda each: each.ends(self.state))
        finally:  # a signal that comes meanwhile waits until all are told
            self._tell(lambda each: each.ended(self.state))

    def _tell(self, tell: Callable[[Watcher], None]) -> None:
        """Tells all watchers; a signal that comes meanwhile ends the night once all are told."""
        signals: list[BaseException] = []
        for name, watcher in self._watchers.items():
            try:
                tell(watcher)
            except Exception as error:  # whoever only looks on must not end what is looked at
                print(f"watchers.{name}: {one_line(error)}; the night goes on", file=sys.stderr, flush=True)
            except (KeyboardInterrupt, SystemExit) as signal:
                signals.append(signal)
        if signals:
            raise signals[0]


def one_line(error: BaseException) -> str:
    """Returns an error in one line for people, without a secret: what it says, with its class unless it was written for
    them."""
    said = " ".join(masked(str(error)).split())
    if isinstance(error, Stopped):
        return f"stopped by {error.signal.name}"
    if isinstance(error, KeyboardInterrupt):
        return "stopped from the terminal"
    if isinstance(error, (GateRefused, UserError)):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def outcome_of(error: BaseException) -> Literal["refused", "failed", "stopped"]:
    """Returns how a step, and the night with it, ends by an error."""
    if isinstance(error, GateRefused):
        return "refused"
    return "failed" if isinstance(error, Exception) else "stopped"  # KeyboardInterrupt, and SystemExit of a signal


def serving(ledger: Ledger) -> Serving | None:
    """Returns what serves, or what served when a roll back began that was interrupted; null where nothing does, or
    where its files cannot be read, which the night itself tells."""
    try:
        left = interrupted(ledger)
        return Serving.of(ledger) if left is None else Serving.at(left, None)
    except (UserError, OSError, KeyError, ValueError):
        return None
