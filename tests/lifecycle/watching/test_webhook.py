"""The webhook, received by a real server: its content, the number of attempts, and that it shows no secret."""

import hashlib
import hmac
import json
import socket
from datetime import datetime
from email.message import Message

import pytest

from tests.lifecycle.watching.hooks import listening, within
from tests.lifecycle.watching.nights import ledger_of, refused, told
from tests.lifecycle.watching.states import state_in
from towers.errors import UserError
from towers.lifecycle.watching import webhook
from towers.lifecycle.watching.watcher import serving
from towers.lifecycle.watching.webhook import SIGNATURE, Webhook, _retry_after_s

URL = "MY_CHANNEL"
"""A variable whose name does not show that it holds a secret."""


def hook(monkeypatch, url, **keys):
    monkeypatch.setenv(URL, url)
    settings = {
        "url_from": URL, "endings": ["refused", "failed"], "secret_from": None, "timeout_s": 2.0, "retries": 0,
        "at_most_s": 5.0,
    } | keys  # fmt: skip
    return Webhook(**settings)


@pytest.fixture(autouse=True)
def moments(monkeypatch):
    """Makes pauses a hundredth as long."""
    from towers.lifecycle.watching import sending

    real = sending.time.sleep
    monkeypatch.setattr(sending.time, "sleep", lambda seconds: real(seconds / 100))


def test_a_refusal_is_told(tmp_path, monkeypatch):
    ledger = ledger_of(tmp_path)
    monkeypatch.setattr("sys.argv", ["/bin/towers", "retrain", "experiment=demo", "gate.why=half of it"])
    with listening() as server:
        refused(hook(monkeypatch, f"{server.url}/T0/B1"), ledger, tmp_path, "main_metric", "norms")
    ((path, headers, body),) = server.got
    said = json.loads(body)
    assert path == "/T0/B1"
    assert headers["Content-Type"] == "application/json"
    assert SIGNATURE not in headers
    assert said.pop("ts")
    text, why = said.pop("text"), "tonight's version is refused by main_metric, norms; current stays at v1"
    assert said == {
        "data": "small", "experiment": "demo", "night": "2026-07-02-night", "ending": "refused", "why": why,
        "version": None, "serving": "v1", "served_before": "v1", "step": "evaluation", "host": socket.gethostname(),
        "refused": [
            {"rule": "main_metric", "words": "main_metric finds 0.1 < 0.2"},
            {"rule": "norms", "words": "norms finds 0.1 < 0.2"},
        ],
        "command": "towers retrain experiment=demo 'gate.why=half of it'",
    }  # fmt: skip
    assert text.splitlines() == [
        f"towers: the night of small (demo) on {socket.gethostname()} has ended: refused. {why}",
        "• main_metric: main_metric finds 0.1 < 0.2",
        "• norms: norms finds 0.1 < 0.2",
        "Now v1 serves.",
        "The same command goes on: towers retrain experiment=demo 'gate.why=half of it'",
    ]


@pytest.mark.parametrize(
    ("asked", "pause_s"),
    [
        ("Sun Nov  6 08:49:37 2044", 177),  # asctime
        ("Sun, 06 Nov 2044 08:49:37 -0000", 177),
        ("Sun, 06 Nov 2044 08:49:37 GMT", 177),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("120", 120),
        ("²", None),
        ("٣", None),
        ("-5", None),
        ("", None),
        ("Sun, 99 Nov 2044 99:49:37 GMT", None),
        ("Sun, 06 Nov 2044 08:49:37 +9999999999", None),
    ],
)
def test_a_pause_is_read_in_every_form_that_is_allowed(monkeypatch, asked, pause_s):
    """An invalid pause counts as none and has no other effect."""
    headers = Message()
    headers["Retry-After"] = asked

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2044, 11, 6, 8, 46, 40, tzinfo=tz)

    monkeypatch.setattr(webhook, "datetime", Clock)
    assert _retry_after_s(headers) == pause_s


def test_only_what_is_named_is_told(tmp_path, monkeypatch):
    ledger = ledger_of(tmp_path)
    with listening() as server:
        told(hook(monkeypatch, server.url), ledger, tmp_path)
        hook(monkeypatch, server.url).put_back(state_in(tmp_path))
        assert server.got == []
        told(hook(monkeypatch, server.url, endings=["published"]), ledger, tmp_path)
        record = ledger.remark(ledger.champion(), "put back", "wrong covers")
        state = state_in(tmp_path, record=record, serving=serving(ledger))
        hook(monkeypatch, server.url, endings=["put_back"]).put_back(state)
    published, back = (json.loads(body) for _, _, body in server.got)
    assert (published["ending"], published["refused"]) == ("published", [])
    assert (back["ending"], back["why"], back["serving"], back["command"]) == ("put_back", "wrong covers", "v1", None)
    assert back["text"].endswith("has led readers from nothing to v1: wrong covers")


def test_the_body_is_signed(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SEAL", "a key of theirs")
    with listening() as server:
        refused(hook(monkeypatch, server.url, secret_from="MY_SEAL"), ledger_of(tmp_path), tmp_path, "norms")
    ((_, headers, body),) = server.got
    assert headers[SIGNATURE] == "sha256=" + hmac.new(b"a key of theirs", body, hashlib.sha256).hexdigest()


def test_it_is_tried_again_where_that_may_help(tmp_path, monkeypatch):
    answers = [(503, {}), (429, {"Retry-After": "2"}), (500, {"Retry-After": "nonsense"}), (204, {})]
    with listening(*answers) as server:
        refused(hook(monkeypatch, server.url, retries=4, at_most_s=30.0), ledger_of(tmp_path), tmp_path, "norms")
        assert len(server.got) == 4
        assert len({body for _, _, body in server.got}) == 1


@pytest.mark.parametrize(
    ("answer", "requests", "why"),
    [
        ((404, {}), 1, "the answer was 404"),
        ((500, {}), 3, "the answer was 500"),
        ((429, {"Retry-After": "3600"}), 1, "the answer was 429"),
        (
            (307, {"Location": "http://127.0.0.1:9/elsewhere"}),
            1,
            "the answer was 307, a redirect, which is not followed; give the address that it leads to",
        ),
    ],
)
def test_what_does_not_go_well_is_one_line_without_the_address(tmp_path, monkeypatch, answer, requests, why):
    line = f"watchers.watcher: not told of it: {why}; the night goes on\n"
    with listening(answer) as server:
        watcher = hook(monkeypatch, f"{server.url}/T0/B1", retries=2, at_most_s=10.0)
        refused(watcher, ledger_of(tmp_path), tmp_path, "norms", silent=line)
        assert len(server.got) == requests


def test_a_server_that_is_not_there_or_says_nothing_holds_nobody_up(tmp_path, monkeypatch):
    ledger = ledger_of(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        line = "watchers.watcher: not told of it: no answer (ConnectionRefusedError); the night goes on\n"
        refused(hook(monkeypatch, url, retries=1), ledger, tmp_path, "norms", silent=line)
    with listening((0, {})) as server:
        line = "watchers.watcher: not told of it: no answer (TimeoutError); the night goes on\n"
        refused(hook(monkeypatch, server.url, timeout_s=0.1), ledger, tmp_path, "norms", silent=line)
        line = "watchers.watcher: not told of it: no answer in 0.3 s (watchers.webhook.at_most_s); the night goes on\n"
        with within(5.0):  # far less than the try may take
            refused(hook(monkeypatch, server.url, timeout_s=9.0, at_most_s=0.3), ledger, tmp_path, "norms", silent=line)


def test_the_address_is_a_secret_whatever_its_variable_is_called(tmp_path, monkeypatch):
    """A message to others that happens to hold the address does not show it either."""
    with listening() as server:
        url = f"{server.url}/T0/B1/hunter2hunter2"
        watcher = hook(monkeypatch, url, endings=["failed"])
        told(watcher, ledger_of(tmp_path), tmp_path, raises=ValueError(f"cannot reach {url}"))
    assert json.loads(server.got[0][2])["why"] == "ValueError: cannot reach ***"


def test_what_does_not_fit_is_told_at_the_start(monkeypatch):
    with pytest.raises(UserError, match=r"^watchers\.webhook\.endings: no 'refusd'; did you mean refused\?"):
        hook(monkeypatch, "http://host/x", endings=["refusd"])
    with pytest.raises(UserError, match=r"^watchers\.webhook\.at_most_s=0\.0: must be above 0"):
        hook(monkeypatch, "http://host/x", at_most_s=0.0)
    with pytest.raises(UserError, match=r"^watchers\.webhook\.retries=-1"):
        hook(monkeypatch, "http://host/x", retries=-1)
    assert not hook(monkeypatch, "http://host/x", url_from=None).is_on
    hook(monkeypatch, "https://hooks.example/services/T0").check()
    for wrong in ("hooks.example/services/T0", "ftp://hooks.example/x", "http://name:word@host/", "http://host:port/"):
        with pytest.raises(UserError, match=rf"^watchers\.webhook\.url_from={URL}: its value is no") as told_wrong:
            hook(monkeypatch, wrong).check()
        assert "hooks.example" not in str(told_wrong.value)
    watcher = hook(monkeypatch, "http://host/x")
    monkeypatch.delenv(URL)
    with pytest.raises(UserError, match=rf"^watchers\.webhook\.url_from={URL}: no such environment variable"):
        watcher.check()
