"""Nights of the demo's world in Dagster and in Airflow, each in its own environment and by its own test runner."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import towers
from tests.deploy.files import DEPLOY, ROOT
from tests.end_to_end.nights import LENIENT, NIGHT
from towers.lifecycle.replay import Replay

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]
OF_BOTH = ("experiment=demo", "features.spectrogram.record_s=1.0", "features.user_columns=[country,age_band]")
OF_NIGHTS = tuple(word for word in NIGHT[1:] if word not in OF_BOTH and not word.startswith("data.name="))
OF_PREPARE = ("data/split=nightly", "data.split.days=12", "~data.split.validation_days", "~data.split.test_days")
"""Overrides of prepare. The demo's world has another split, whose keys have to go; most data sets need the first word
alone.
"""
CUT = """#!/usr/bin/env bash
# The first night is preempted in its training: SIGTERM once there is a checkpoint.
if [ "$1" != retrain ] || [ -e cut ]; then exec {python} -m towers "$@"; fi
touch cut
{python} -m towers "$@" &
until compgen -G 'runs/demo/*/last.ckpt' > /dev/null; do sleep 0.05; kill -0 $!; done
kill -TERM $!
wait $!
"""


class Box:
    """A machine on which nights are run by an orchestrator: a folder, raw data of three nights, and `towers`."""

    def __init__(self, folder: Path, world: Path):
        self.folder = folder
        self.replay = Replay(world, folder / "replay", 3)
        self.command = folder / "towers"
        self.command.write_text(CUT.format(python=sys.executable))
        self.command.chmod(0o755)

    def run(self, environment: str, script: str, night: int, *more: str, **variables: str) -> dict:
        """Runs a script of this folder in an environment; returns its last line of output."""
        self.replay.advance(night)
        return self.once_more(environment, script, *more, **variables)

    def once_more(self, environment: str, script: str, *more: str, **variables: str) -> dict:
        """Runs the same again, with the raw data as it is."""
        done = self.start(environment, script, *more, **variables)
        out, err = done.communicate(timeout=600)
        assert done.returncode == 0, err[-3000:]
        return json.loads(out.splitlines()[-1])

    def start(self, environment: str, script: str, *more: str, **variables: str) -> "subprocess.Popen[str]":
        """Starts a script of this folder in an environment."""
        settings = {
            "TOWERS_HOME": str(self.folder),
            "TOWERS_COMMAND": str(self.command),
            "TOWERS_DATA_NAME": "night",
            "TOWERS_OVERRIDES": shlex.join([*OF_BOTH, f"data.root={self.replay.raw}"]),
            "TOWERS_NIGHT_OVERRIDES": shlex.join([*OF_NIGHTS, "trainer.max_epochs=60", *more]),
            "TOWERS_PREPARE_OVERRIDES": shlex.join(OF_PREPARE),
            "TOWERS_RETRY_S": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, DEPLOY / "night", DEPLOY / "dagster"))),
        }
        return subprocess.Popen(
            [str(python_of(environment)), str(Path(__file__).with_name(script))],
            env={**os.environ, **settings, **variables}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait_for(self, pattern: str) -> None:
        """Waits for a file below the folder, two minutes at most."""
        ends = time.monotonic() + 120
        while not list(self.folder.glob(pattern)):
            assert time.monotonic() < ends, pattern
            time.sleep(0.05)

    @property
    def served(self) -> str:
        return (self.folder / "exports" / "current").resolve().name

    def lose_most_events(self) -> None:
        """Deletes three quarters of the events, as after a failure upstream."""
        for path in (self.replay.raw / "events").rglob("*.parquet"):
            table = pq.read_table(path)
            path.unlink()  # it may be a link to the world's own
            pq.write_table(table.slice(0, len(table) // 4), path)


def python_of(environment: str) -> Path:
    return ROOT / environment / "bin" / "python"


def needs(environment: str):
    missing = not python_of(environment).exists()
    return pytest.mark.skipif(missing, reason=f"no {environment}; scripts/orchestrators makes it")


@pytest.fixture
def box(demo: tuple[Path, str], tmp_path) -> Box:
    return Box(tmp_path, demo[0] / "worlds" / "world-0")


@needs(".venv-dagster")
def test_nights_in_dagster(box):
    """A preempted night goes on and publishes; a refusal is not retried; broken data ends the run before the night."""
    first = box.run(".venv-dagster", "in_dagster.py", 0, *LENIENT)
    assert (box.folder / "cut").exists()
    assert first["retried"] == ["serving_version"]
    assert first["success"]
    assert first["made"]["serving_version"]["version"] == box.served
    assert first["made"]["serving_version"]["recall@20"] > 0
    assert first["made"]["prepared_store"]["rows/events"] > 2_000
    assert [first["checks"][name][0] for name in ("data_is_trusted", "gate")] == [True, True]

    served = box.served
    refused = box.run(".venv-dagster", "in_dagster.py", 1, "gate.rules.too_good.max_gain=0.000001")
    assert not refused["success"]
    assert (refused["retried"], refused["failed"]) == ([], ["serving_version"])
    passed, facts = refused["checks"]["gate"]
    assert not passed
    assert "main_metric" in facts["refused"]
    assert facts["rules"]["main_metric"].startswith("refused: ")

    box.lose_most_events()
    broken = box.once_more(".venv-dagster", "in_dagster.py", *LENIENT)
    assert not broken["success"]
    assert not broken["checks"]["data_is_trusted"][0]
    assert "shrunk" in [finding["rule"] for finding in broken["checks"]["data_is_trusted"][1]["findings"]]
    assert list(broken["made"]) == ["prepared_store"]
    assert box.served == served


@needs(".venv-dagster")
def test_a_run_in_dagster_that_is_told_to_end(box):
    """The signal reaches the night, which saves; a run that ends does not start the step again."""
    (box.folder / "cut").touch()
    box.replay.advance(0)
    run = box.start(".venv-dagster", "in_dagster.py", *LENIENT)
    box.wait_for("runs/demo/*/last.ckpt")
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=120)
    ended = json.loads(out.splitlines()[-1])
    assert not ended["success"]
    assert ended["retried"] == []
    assert "Execution was interrupted unexpectedly" in err
    done = towers(box.folder, *NIGHT, *LENIENT, "trainer.max_epochs=60", f"data.root={box.replay.raw}")
    assert done.returncode == 0, done.stderr
    assert "going on from step " in done.stdout


@needs(".venv-dagster")
def test_a_run_in_dagster_that_was_killed_gives_its_slot_to_the_next(box):
    """The killed run's night goes on without it, and the next run finds what it has published."""
    home = box.folder / "dagster"
    home.mkdir()
    settings = yaml.safe_load((DEPLOY / "dagster" / "dagster.yaml").read_text())
    monitoring = settings["run_monitoring"]
    monitoring |= {key: 1 for key in ("max_runtime_seconds", "free_slots_after_run_end_seconds") if key in monitoring}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    (box.folder / "cut").touch()
    box.replay.advance(0)
    run = box.start(".venv-dagster", "in_dagster.py", *LENIENT, DAGSTER_HOME=str(home))
    box.wait_for("runs/demo/*/last.ckpt")
    run.kill()
    run.communicate(timeout=60)
    assert not (box.folder / "exports" / "current").exists()
    following = box.once_more(".venv-dagster", "in_dagster.py", *LENIENT, DAGSTER_HOME=str(home))
    assert following["slots"] == [1, 0]
    assert following["success"]
    assert following["made"]["serving_version"]["version"] == box.served
    said = [log.read_text() for log in (box.folder / "logs").iterdir()]
    assert sum("published exports/" in lines for lines in said) == 1


@needs(".venv-airflow")
def test_nights_in_airflow(box):
    """The nights end as they do in Dagster."""
    home = {
        "AIRFLOW_HOME": str(box.folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DEPLOY / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }
    (box.folder / "airflow").mkdir()
    first = box.run(".venv-airflow", "in_airflow.py", 0, *LENIENT, **home)
    assert first["import_errors"] == {}
    assert set(first["states"].values()) == {"success"}
    assert first["tries"] == {"prepare": 1, "data_is_trusted": 1, "retrain": 2}
    assert first["given"]["retrain"]["version"] == box.served
    assert first["given"]["prepare"]["rows/events"] > 2_000

    served = box.served
    refused = box.run(".venv-airflow", "in_airflow.py", 1, "gate.rules.too_good.max_gain=0.000001", **home)
    assert refused["states"] == {"prepare": "success", "data_is_trusted": "success", "retrain": "failed"}
    assert refused["tries"]["retrain"] == 1

    box.lose_most_events()
    broken = box.once_more(".venv-airflow", "in_airflow.py", *LENIENT, **home)
    assert broken["states"] == {"prepare": "success", "data_is_trusted": "failed", "retrain": "upstream_failed"}
    assert broken["tries"]["data_is_trusted"] == 1
    assert box.served == served
