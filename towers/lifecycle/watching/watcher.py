"""Who watches a night, and how they are told: what a watcher does wrong never ends or changes a night."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from towers.errors import GateRefused, UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.watching.night_state import Ending, NightState, Serving, Step, StepName
from towers.secrets import masked


class Watcher:
    """Base of all watchers: each method is a moment of a night, and does nothing here."""

    def check(self) -> None:
        """Is called in the dry run; looks at whether what is needed later is there.

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

    @contextmanager
    def process(self) -> Iterator[None]:
        """Spans what the command does, the wait for another night included."""
        self._tell(lambda each: each.ready(self.state))
        try:
            yield
        finally:
            self._tell(lambda each: each.close())

    @contextmanager
    def night(self, ledger: Ledger) -> Iterator[None]:
        """Spans the night itself, whatever ends it; the ending is what `knows` was told, or follows from the error.

        Args:
            ledger: that knows what serves.
        """
        self.knows(served_before=serving(ledger), serving=serving(ledger))
        self._tell(lambda each: each.begun(self.state))
        try:
            yield
        except BaseException as error:
            self._end(ledger, _ending_of(error), one_line(error))
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
        self._tell(lambda each: each.step_begun(self.state, step))
        error: str | None = None
        try:
            yield facts
        except BaseException as raised:
            error = one_line(raised)
            raise
        finally:
            done = replace(step, ended=datetime.now(UTC), error=error, facts=facts)
            self.knows(steps=(*self.state.steps[:-1], done))
            self._tell(lambda each: each.step_ended(self.state, done))

    def knows(self, **facts: Any) -> None:
        """Adds to the state, by the names of its fields."""
        self.state = replace(self.state, **facts)

    def put_back(self, ledger: Ledger, before: Serving | None) -> None:
        """Tells of a roll back.

        Args:
            ledger: that knows what serves.
            before: what served before it.
        """
        self.knows(serving=serving(ledger))
        state = replace(self.state, record=ledger.champion(), served_before=before)  # a night's own come later
        self._tell(lambda each: each.put_back(state))

    def _end(self, ledger: Ledger, ending: Ending, why: str) -> None:
        self.knows(serving=serving(ledger), ending=ending, why=why, ended=datetime.now(UTC))
        if self.state.record is not None:
            self.knows(record=ledger.of_night(self.state.record.night) or self.state.record)
        self._tell(lambda each: each.ended(self.state))

    def _tell(self, tell: Callable[[Watcher], None]) -> None:
        for name, watcher in self._watchers.items():
            try:
                tell(watcher)
            except Exception as error:  # whoever only looks on must not end what is looked at
                print(f"watchers.{name}: {one_line(error)}; the night goes on", file=sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """Returns an error in one line for people, without a secret: what it says, with its class unless it was written for
    them."""
    said = masked(" ".join(str(error).split()))
    if isinstance(error, (GateRefused, UserError)):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _ending_of(error: BaseException) -> Ending:
    if isinstance(error, GateRefused):
        return "refused"
    return "failed" if isinstance(error, Exception) else "stopped"  # KeyboardInterrupt, and SystemExit of a signal


def serving(ledger: Ledger) -> Serving | None:
    """Returns what serves; null where nothing does, or where its files cannot be read, which the night itself tells."""
    try:
        return Serving.of(ledger)
    except (UserError, OSError, KeyError, ValueError):
        return None
