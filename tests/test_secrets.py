"""What is told shows no secret of the environment."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from towers.config.composing import compose, resolved, save_yaml
from towers.errors import UserError
from towers.secrets import masked, secret_of


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "TOWERS_HOME_TOKEN", "db_password", "PGPASSPHRASE_SECRET"]
)
def test_a_variable_that_is_named_like_a_secret_is_masked(monkeypatch, name):
    monkeypatch.setenv(name, "hunter2hunter2")
    assert masked("it said hunter2hunter2, twice: hunter2hunter2") == "it said ***, twice: ***"


def test_a_variable_that_was_asked_for_is_masked(monkeypatch):
    """Whatever it is called, and an address that holds it is one, too."""
    monkeypatch.setenv("MY_CHANNEL", "https://chat.example/T0/B1/x")
    assert secret_of("MY_CHANNEL", "watchers.webhook.url_from") == "https://chat.example/T0/B1/x"
    assert masked("no answer of https://chat.example/T0/B1/x/again") == "no answer of ***/again"


def test_the_longest_goes_first(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefghijkl")
    assert masked("abcdefghijkl abcdefgh") == "*** ***"


def test_what_is_no_secret_stays(monkeypatch, tmp_path):
    """Short values, folders, and variables that are named otherwise."""
    monkeypatch.setenv("KEYBOARD", "qwertyqwerty")
    monkeypatch.setenv("SOME_KEY", "short")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    text = f"qwertyqwerty, short, {tmp_path}, s3://bucket/folder, https://host:8080/path@2"
    assert masked(text) == text


def test_a_variable_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.delenv("TOWERS_WEBHOOK_URL", raising=False)
    with pytest.raises(UserError, match=r"^watchers\.webhook\.url_from=TOWERS_WEBHOOK_URL: no such environment"):
        secret_of("TOWERS_WEBHOOK_URL", "watchers.webhook.url_from")


def test_a_saved_configuration_holds_no_secret(monkeypatch, tmp_path):
    """As of a logger of somebody's own, which is given its key."""
    monkeypatch.setenv("COMET_API_KEY", "hunter2hunter2")
    config = compose("train", ["+loggers=[{_target_: a.Logger, api_key: '${oc.env:COMET_API_KEY}'}]"])
    save_yaml(resolved(config), tmp_path / "config.yaml")
    saved = (tmp_path / "config.yaml").read_text()
    assert "hunter2hunter2" not in saved
    assert OmegaConf.create(saved).loggers[0].api_key == "***"


@pytest.mark.unhooked
def test_a_traceback_shows_no_secret(monkeypatch):
    """What nobody has caught is a library's, which may tell the address that it asked."""
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    code = (
        "from os import environ; from towers import cli; cli._run = lambda *_: {}[environ['SOME_TOKEN']]; "
        "cli.main(['demo'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert "KeyError: '***'" in done.stderr
    assert "hunter2hunter2" not in done.stderr
