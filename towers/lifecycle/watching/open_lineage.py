"""OpenLineage events: the data that a version was made from, step by step, and the gate's verdict on it.

The night is a run of the job `retrain.DATA`; each step with outputs is a run of a job of its own below it, and so is
the gate. Every attempt has new runs.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from towers.errors import UserError
from towers.extras import how_to_install
from towers.lifecycle.watching.appending import append_line, check_appendable
from towers.lifecycle.watching.night_state import WELL, NightState, Step, StepName
from towers.lifecycle.watching.sending import Outbox, Transient, is_address, tried
from towers.lifecycle.watching.watcher import Watcher
from towers.secrets import secret_of

if TYPE_CHECKING:
    from towers.lifecycle.watching.lineage_events import Lineage, Run

MAKES: Final[tuple[StepName, ...]] = ("prepare", "twin", "evaluation", "refit", "export", "publish")
"""Steps with outputs."""
JUDGES: Final[tuple[StepName, ...]] = ("data_check", "evaluation", "export", "server")
"""Steps that ask the gate."""
Ends = Literal["COMPLETE", "FAIL", "ABORT"]


class OpenLineage(Watcher):
    """Reports data sets, runs and jobs, to a file or to a server such as Marquez.

    Args:
        file: file to which each event is appended as a line; null: none.
        url: address of a server; null: none. With both null nothing is reported.
        api_key_from: environment variable that holds the server's API key; null: it takes none.
        namespace: namespace of the jobs.
        nominal_time: time for which a scheduler started the night, ISO 8601; null: unknown.
        timeout_s: seconds that one try waits for the server.
        retries: tries after the first one, where there is no answer, or 429 or 5xx.
        at_most_s: seconds that the end of the night waits for events that the server has not received yet.

    Raises:
        UserError: an invalid number or time.
    """

    def __init__(
        self,
        file: str | None,
        url: str | None,
        api_key_from: str | None,
        namespace: str,
        nominal_time: str | None,
        timeout_s: float,
        retries: int,
        at_most_s: float,
    ):
        for key, number in (("timeout_s", timeout_s), ("at_most_s", at_most_s), ("retries", retries + 1)):
            if not number > 0:
                raise UserError(f"watchers.openlineage.{key}: must be above 0, retries 0 or more")
        self._nominal = None if nominal_time is None else _time(nominal_time)
        self._file, self._url, self._api_key_from = file, url, api_key_from
        self._namespace, self._timeout_s, self._retries, self._at_most_s = namespace, timeout_s, retries, at_most_s
        self._made: Lineage | None = None
        self._outbox: Outbox[Any] | None = None
        self._sent = 0
        self._night: Run | None = None
        self._step: Run | None = None
        self._gate: Run | None = None
        if api_key_from is not None:
            with suppress(UserError):  # from now on texts mask it, even under an unusual name
                secret_of(api_key_from, "watchers.openlineage.api_key_from")

    @property
    def is_on(self) -> bool:
        """Returns whether a file or a server is given."""
        return self._file is not None or self._url is not None

    def check(self) -> None:
        """Checks that the library is installed, the file can be written, and the key is set; contacts no server."""
        if find_spec("openlineage") is None:
            raise UserError(f"watchers.openlineage: needs openlineage-python: {how_to_install('lineage')}")
        if self._file is not None:
            check_appendable("watchers.openlineage.file", Path(self._file))
        if self._url is not None and not is_address(self._url):
            raise UserError(
                "watchers.openlineage.url: give http(s)://HOST:PORT, without a name and a password; the server's API "
                "key is read from the variable that api_key_from names"
            )
        if self._api_key_from is not None:
            secret_of(self._api_key_from, "watchers.openlineage.api_key_from")

    def begun(self, state: NightState) -> None:
        """Reports the begin of the night."""
        self._night = self._lineage.run(f"retrain.{state.data}", "JOB")
        self._emit(self._lineage.started(self._night, state.started, _raw(state, self._lineage)))

    def step_begun(self, state: NightState, step: Step) -> None:
        """Reports the begin of a step with outputs, and that of the gate before its first judgement."""
        if step.name in MAKES:
            self._step = self._child(state, step.name)
            self._emit(self._lineage.started(self._step, step.began))
        if step.name in JUDGES and self._gate is None:
            self._gate = self._child(state, "gate")
            self._emit(self._lineage.started(self._gate, step.began))

    def step_ended(self, state: NightState, step: Step) -> None:
        """Reports the inputs and outputs of the step; after the last judgement, or a refusal, the gate's verdict."""
        now = step.ended or datetime.now(UTC)
        ends: Ends = "COMPLETE" if step.outcome == "ok" else "ABORT" if step.outcome == "stopped" else "FAIL"
        if step.name in MAKES and self._step is not None:
            # A refusal is the gate's; the step itself has completed its outputs.
            is_whole = step.outcome in ("ok", "refused")
            inputs, outputs = self._lineage.of_step(step.name, state, is_whole)
            own, error = ("COMPLETE", None) if is_whole else (ends, step.error)
            self._emit(self._lineage.ended(self._step, own, now, inputs, outputs, error))
            self._step = None
        if step.name in JUDGES and (step.name == JUDGES[-1] or step.outcome == "refused"):
            self._judged(state, "FAIL" if step.outcome == "refused" else ends, now, step.error)

    def ended(self, state: NightState) -> None:
        """Reports the end of the night."""
        if self._night is None:
            return
        now = state.ended or datetime.now(UTC)
        self._judged(state, "ABORT", now, None)  # if it was asked, and came to no end
        ends: Ends = "COMPLETE" if state.ending in WELL else "ABORT" if state.ending == "stopped" else "FAIL"
        has_moved = state.serving is not None and state.serving != state.served_before
        outputs = self._lineage.led_to(state) if has_moved or state.ending == "published" else []
        error = None if ends == "COMPLETE" else state.why
        self._emit(self._lineage.ended(self._night, ends, now, _raw(state, self._lineage), outputs, error))
        self._night = None

    def put_back(self, state: NightState) -> None:
        """Reports, as a run of its own, that readers were led to an earlier version."""
        run, now = self._lineage.run(f"rollback.{state.data}", "JOB", self._night), datetime.now(UTC)
        inputs, outputs = self._lineage.of_step("publish", state, is_whole=True)
        self._emit(self._lineage.started(run, now))
        self._emit(self._lineage.ended(run, "COMPLETE", now, inputs, outputs, None))
        if self._night is None:
            self.close()

    def close(self) -> None:
        """Waits, within bounds, for events that the server has not received yet.

        Raises:
            UserError: it has not received all events.
        """
        if self._outbox is None:
            return
        left = self._outbox.left(self._at_most_s)
        errors, outbox = self._outbox.errors, self._outbox
        self._outbox = None
        if left or errors:
            why = str(errors[-1]) if errors else "no answer"
            raise UserError(f"{left + len(outbox.errors)} of {self._sent} events did not reach the server: {why}")

    @property
    def _lineage(self) -> "Lineage":
        if self._made is None:
            from towers.lifecycle.watching.lineage_events import Lineage

            self._made = Lineage(self._namespace, self._nominal)
        return self._made

    def _child(self, state: NightState, name: str) -> "Run":
        return self._lineage.run(f"retrain.{state.data}.{name}", "TASK", self._night)

    def _judged(self, state: NightState, ends: Ends, now: datetime, error: str | None) -> None:
        if self._gate is not None:
            self._emit(self._lineage.ended(self._gate, ends, now, self._lineage.judged(state), [], error))
            self._gate = None

    def _emit(self, event: Any) -> None:
        """Writes an event to the file at once, and queues it for the server."""
        if self._file is not None:
            from openlineage.client.serde import Serde

            append_line(Path(self._file), Serde.to_json(event))
        if self._url is not None:
            self._outbox = self._outbox or Outbox(self._sender(self._url))
            self._outbox.put(event)
            self._sent += 1

    def _sender(self, url: str) -> Any:
        """Returns a function that sends one event by the library's own transport; retries are decided here."""
        import requests
        from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

        key, variable = "watchers.openlineage.api_key_from", self._api_key_from
        auth = TokenProvider({}) if variable is None else ApiKeyTokenProvider({"api_key": secret_of(variable, key)})
        transport = HttpTransport(
            HttpConfig(url=url, timeout=self._timeout_s, auth=auth, retry={"total": 0, "redirect": 0})
        )

        def attempt(event: Any) -> None:
            try:
                transport.emit(event)
            except requests.HTTPError as error:
                status = 0 if error.response is None else error.response.status_code
                told = f"the answer was {status}"
                if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise Transient(told) from None
                raise UserError(told) from None
            except (requests.RequestException, OSError) as error:
                raise Transient(f"no answer ({type(error).__name__})") from None

        is_down = False

        def send(event: Any) -> None:
            nonlocal is_down
            retries = 0 if is_down else self._retries  # a server that is gone costs each further event one try
            is_down = True
            tried(lambda: attempt(event), retries, self._at_most_s)
            is_down = False

        return send


def _raw(state: NightState, lineage: "Lineage") -> Iterable[Any]:
    return [] if state.root is None else [lineage.datasets.raw(state.root)]


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"watchers.openlineage.nominal_time={text}: no time of ISO 8601") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
