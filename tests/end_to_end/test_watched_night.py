"""Nights with all watchers: what each receives about the same night, and that no secret is in any file or line."""

import hashlib
import hmac
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import wandb
from prometheus_client.parser import text_string_to_metric_families

from tests.command_line import ok, towers
from tests.end_to_end.nights import LENIENT, NIGHT, Nights
from tests.lifecycle.watching.hooks import listening
from tests.lifecycle.watching.lineage import read_event
from tests.lifecycle.watching.wandb_reading import read_back, runs_in
from tests.notified import Inbox, inbox
from towers.errors import ExitCode
from towers.lifecycle.lock import held
from towers.lifecycle.watching.night_state import STEPS
from towers.manifest import read_json

pytestmark = [pytest.mark.unhooked, pytest.mark.usefixtures("no_page")]
SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef" * 2 + "planted1",
    "AWS_SECRET_ACCESS_KEY": "planted2/of/a/store",
    "TOWERS_HOME_TOKEN": "planted3-of-the-home-page",
    "ON_DUTY": "planted4-in-an-address",
    "SIGNED_WITH": "planted5-of-signatures",
}
"""Secrets by the variable that holds them; the names of the last two look harmless, and the configuration marks
them.
"""


@dataclass
class Watched:
    """The messages of a published night and of a refused one.

    Args:
        nights: folder of the nights.
        done: output and exit code of a published night, of the same command again, and of a refused night.
        posted: path, headers and body of each request to the webhook.
        notified: lines that systemd would have received.
    """

    nights: Nights
    done: list[subprocess.CompletedProcess[str]]
    posted: list
    notified: list[str]

    @property
    def folder(self) -> Path:
        return self.nights.folder

    @property
    def said(self) -> str:
        return "".join(one for done in self.done for one in (done.stdout, done.stderr))


@contextmanager
def drained(manager: Inbox) -> Iterator[None]:
    """Reads messages while they arrive, as systemd does: a socket holds ten, and accepts no more until one is read."""
    is_over = threading.Event()

    def drain() -> None:
        while not is_over.wait(0.02):
            _ = manager.lines

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.fixture(scope="module")
def watched(demo, tmp_path_factory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    nights = Nights(folder / "work", demo[0] / "worlds" / "world-0")
    nights.folder.mkdir()
    (folder / "home").mkdir()
    (folder / "collector").mkdir()
    watchers = (
        f"watchers.prometheus.path={folder / 'collector' / 'towers.prom'}", "watchers.json_lines.path=night.jsonl",
        "watchers.webhook.url_from=ON_DUTY", "watchers.webhook.secret_from=SIGNED_WITH",
        "watchers.openlineage.file=lineage.jsonl",
    )  # fmt: skip
    with listening() as hook, inbox(folder) as manager, drained(manager):
        own = {**SECRETS, "ON_DUTY": f"{hook.url}/{SECRETS['ON_DUTY']}"}
        surroundings = {"HOME": str(folder / "home"), "WANDB_MODE": "offline", "NOTIFY_SOCKET": manager.address}
        wandb.teardown()  # it keeps its settings for the rest of a process
        with patch.dict(os.environ, {**own, **surroundings}):
            published = towers(nights.folder, *nights.command(0, *LENIENT, *watchers, "logger=wandb"))
            again = towers(nights.folder, *nights.command(0, *LENIENT))
            refused = towers(
                nights.folder, *nights.command(1, "gate.rules.too_good.max_gain=0.000001", *watchers, "logger=csv")
            )
        wandb.teardown()
        found = Watched(nights, [published, again, refused], list(hook.got), manager.lines)
        assert [done.returncode for done in found.done] == [ExitCode.OK, ExitCode.OK, ExitCode.REFUSED], found.said[
            -3000:
        ]
        assert "the night goes on" not in found.said  # no watcher has failed
        return found


def test_no_secret_is_in_any_file_or_line(watched):
    whole = [path for path in watched.folder.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(whole) > 100
    kept = {path: path.read_bytes() for path in whole}
    told = {"printed": watched.said, "notified": "\n".join(watched.notified)}
    posted = {"posted": b"".join(body for _, _, body in watched.posted)}
    for name, text in {**kept, **{key: each.encode() for key, each in told.items()}, **posted}.items():
        for variable, secret in SECRETS.items():
            assert secret.encode() not in text, f"{variable} is in {name}"


def test_the_prometheus_file(watched):
    (path,) = (watched.folder.parent / "collector").iterdir()
    samples = [each for family in text_string_to_metric_families(path.read_text()) for each in family.samples]

    def found(name: str) -> dict[str, float]:
        last = {"ending", "step", "rule", "table", "version"}
        own = [each for each in samples if each.name == name]
        return {next((each.labels[key] for key in last & set(each.labels)), ""): each.value for each in own}

    assert found("towers_night_ending")["refused"] == 1
    assert sum(found("towers_night_ending").values()) == 1
    begun, ended, success = (
        found(f"towers_night_last_{name}_timestamp_seconds")[""] for name in ("start", "end", "success")
    )
    assert success < begun < ended
    assert list(found("towers_serving_info")) == [watched.nights.served]
    assert found("towers_gate_rule_passed")["main_metric"] == 0
    assert found("towers_store_rows")["events"] > 0
    assert found("towers_night_step_duration_seconds")["twin"] > 0


def test_the_lines_of_json(watched):
    lines = [json.loads(line) for line in (watched.folder / "night.jsonl").read_text().splitlines()]
    steps = [(line["step"], line["outcome"]) for line in lines if line["event"] == "step"]
    assert steps[: len(STEPS)] == [(name, "ok") for name in STEPS]
    assert steps[-1] == ("evaluation", "refused")
    assert [line["ending"] for line in lines if line["event"] == "ended"] == ["published", "refused"]
    assert lines[len(STEPS) + 2]["version"] == watched.nights.served


def test_the_webhook_gets_the_refusal_signed(watched):
    ((path, headers, body),) = watched.posted
    assert path == f"/{SECRETS['ON_DUTY']}"
    signature = hmac.new(SECRETS["SIGNED_WITH"].encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Towers-Signature-256"] == f"sha256={signature}"
    told = json.loads(body)
    assert (told["ending"], told["serving"]) == ("refused", watched.nights.served)
    assert "main_metric" in [each["rule"] for each in told["refused"]]


def test_lineage(watched):
    events = [read_event(line) for line in (watched.folder / "lineage.jsonl").read_text().splitlines()]
    outputs = {each.name for event in events if event.job.name.endswith(".export") for each in event.outputs}
    assert any(name.endswith(f"/exports/{watched.nights.served}") for name in outputs)
    begun = {event.run.runId for event in events if event.eventType.value == "START"}
    assert begun == {event.run.runId for event in events if event.eventType.value in ("COMPLETE", "FAIL")}


def test_systemd(watched):
    assert watched.notified.count("READY=1") == watched.notified.count("STOPPING=1") == len(watched.done)
    statuses = [line for line in watched.notified if line.startswith("STATUS=")]
    assert any("twin" in line for line in statuses)
    assert "refused" in statuses[-1]


def test_the_run_of_the_night(watched):
    """There is one run a night, in the group of its trainings, with the artifacts that it used and made."""
    (folder,) = runs_in(watched.folder / "nights" / "night")
    run = read_back(folder)
    trainings = [read_back(path) for path in watched.folder.glob("runs/demo/*/wandb/offline-run-*")]
    assert {each.run["run_group"] for each in [run, *trainings]} == {"nights of night"}
    assert run.run["job_type"] == "night"
    assert {each.run["job_type"] for each in trainings} == {"train"}
    assert run.summary["version"] == watched.nights.served
    columns, rows = run.table("gate")
    assert {"rule", "status"} <= set(columns)
    assert len(rows) > 5
    (export,) = run.artifacts("night-export")
    assert "champion" in export["aliases"]


def test_a_refused_night_changes_nothing(watched):
    """A published night is not made again; a second start names the running process, and ends well."""
    (begun, again, done), nights = watched.done, watched.nights
    first = nights.served
    assert f"published exports/{first}: current points to it" in begun.stdout
    manifest = read_json(nights.folder / "exports" / first / "manifest.json")
    assert manifest["has_seen_test"]
    assert manifest["window"]["end"].startswith(str(nights.replay.nights[0]))
    assert done.stderr.strip().splitlines()[-1].startswith("towers: tonight's version (demo/")
    assert f"current stays at {first}" in done.stderr
    assert "refused        main_metric: " in done.stdout
    assert nights.served == first

    assert f"nothing to publish: {first}, which serves, was made of this data" in again.stdout
    with held(nights.folder / "stores" / "night" / ".retrain.lock", "another night", False, print):
        told = ok(nights.folder, *nights.command(1, *LENIENT))
    assert "held for another night by " in told
    listed = ok(nights.folder, *NIGHT, "action=history")
    assert [line.split()[1] for line in listed.splitlines() if first in line] == ["champion"]
    assert "refused by main_metric" in " ".join(listed.split())

    (champion,) = [record for record in nights.records.values() if record["version"] == first]
    twin = nights.folder / "runs" / champion["judged"]
    twin.rename(twin.with_name("elsewhere"))
    done = towers(nights.folder, *nights.command(2, *LENIENT))
    twin.with_name("elsewhere").rename(twin)
    assert (done.returncode, nights.served) == (ExitCode.CALLER, first)
    assert f"the run by which it is judged (runs/{champion['judged']}) is gone" in done.stderr
