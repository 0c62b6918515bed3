"""Weights & Biases without a key, without a network, with an invalid key, and in the mode of WANDB_MODE."""

import socket
import subprocess
import sys
import time

import pytest

from tests.lifecycle.watching.wandb_reading import read_back, runs_in
from towers.errors import UserError
from towers.evaluation.report.drawing import Series, dot_chart, png
from towers.training import wandb_runs
from towers.training.loggers import close_loggers, wandb_logger
from towers.training.wandb_runs import log_images, wandb_mode

KEY = "0123456789abcdef" * 3


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """Removes any key and mode."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # has no netrc
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def dead_server():
    """Address on which no process listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def deaf_server():
    """Address of a server that accepts a connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_without_a_key_it_is_offline(capsys):
    assert wandb_mode() == "offline"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", ["offline", "disabled", "online"])
def test_what_the_environment_says_counts(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_mode() == mode


@pytest.mark.parametrize("server", ["dead_server", "deaf_server"])
def test_a_key_without_a_network_is_one_line_and_offline(monkeypatch, capsys, server, request):
    monkeypatch.setattr(wandb_runs, "REACHED_WITHIN_S", 1.0)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", request.getfixturevalue(server))
    started = time.monotonic()
    assert wandb_mode() == "offline"
    assert time.monotonic() - started < 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not answer; goes on offline" in line


@pytest.mark.parametrize("key", ["short", "!" * 40, "local-" + "a" * 39, "x" * 39 + " "])
def test_a_key_that_is_none_is_refused(monkeypatch, key):
    monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(UserError, match=r"^WANDB_API_KEY: .*WANDB_MODE=offline"):
        wandb_mode()


@pytest.mark.parametrize("key", ["a" * 40, "local-" + "a" * 40, "a-b.c_d.e-f"])
def test_keys_that_wandb_takes(monkeypatch, dead_server, key):
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", dead_server)
    assert wandb_mode() == "offline"


@pytest.mark.unhooked
def test_disabled_writes_nothing_and_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = wandb_logger(tmp_path, "demo/0123", "towers", None, None)
    said = capsys.readouterr().err
    assert said == f"wandb: off, as WANDB_MODE says; the figures are in {tmp_path}/metrics.csv alone\n"
    logger.log_metrics({"loss": 0.5}, step=1)
    close_loggers([logger], True)
    assert not (tmp_path / "wandb").exists()


@pytest.mark.unhooked
def test_a_mode_that_there_is_not_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(UserError, match=r"^logger=wandb: .*'offline'"):
        wandb_logger(tmp_path, "demo/0123", "towers", None, None)


@pytest.mark.unhooked
def test_pictures_go_to_the_run_of_the_training(tmp_path, capsys):
    logger = wandb_logger(tmp_path, "demo/0123", "towers", None, None)
    (files,) = (tmp_path / "wandb").glob("offline-run-*")
    said = f"wandb: offline, as there is no key; files in {files}; `wandb sync {files}` uploads them\n"
    assert said in capsys.readouterr().err
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics({"loss": 0.5}, step=1)
    close_loggers([logger], True)
    picture = png(dot_chart(["all"], [Series(name="model", means=[0.5], place=0)], xlabel="recall"))
    log_images(tmp_path, "demo/0123", {"project": "towers"}, {"headline": picture})
    runs = sorted((tmp_path / "wandb").glob("offline-run-*-demo-0123*"))
    (logged,) = (tmp_path / "wandb").glob("offline-run-*-demo-0123*/files/media/images/evaluation/headline_*.png")
    assert logged.is_relative_to(runs[-1])
    assert logged.read_bytes().startswith(b"\x89PNG")


@pytest.mark.unhooked
def test_what_wandb_notes_by_itself_has_no_secret(tmp_path, monkeypatch):
    """The notes have neither the command line nor the address of the repository, which may contain a token."""
    monkeypatch.setenv("SOME_TOKEN", "hunter2-hunter2")
    monkeypatch.setattr(sys, "argv", ["towers", "train", "logger.key=hunter2-hunter2"])
    for command in (["init", "-q"], ["remote", "add", "origin", "https://hunter2-hunter2@github.com/a/b.git"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    for number in range(5):  # wandb notes it in the background, and a run that ends at once may have none of it
        place = tmp_path / str(number)
        place.mkdir()
        logger = wandb_logger(place, f"demo/{number}", "towers", "nights of catalogue", "train")
        time.sleep(0.2 * number)
        close_loggers([logger], True)
        (folder,) = runs_in(place)
        if "environment" in (found := read_back(folder)).records:
            break
    assert (found.run["run_group"], found.run["job_type"]) == ("nights of catalogue", "train")
    assert found.records["environment"][0]["args"] == ["train", "logger.key=***"]
    assert sys.argv[2] == "logger.key=hunter2-hunter2"
    assert not [path for path in folder.rglob("*") if path.is_file() and b"hunter2-hunter2" in path.read_bytes()]
