"""Messages show no secret of the environment."""

import json
import os
import re
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from omegaconf import OmegaConf

from towers.config.composing import compose, resolved, save_yaml
from towers.errors import UserError
from towers.secrets import masked, masked_settings, named_secrets, secret_of


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "TOWERS_HOME_TOKEN",
        "db_password",
        "PGPASSPHRASE_SECRET",
        "PGPASSWORD",
        "SMTP_PASS",
        "MYSQL_PWD",
        "MYSQLPASSWORD",
    ],
)
def test_a_variable_that_is_named_like_a_secret_is_masked(monkeypatch, name):
    monkeypatch.setenv(name, "hunter2hunter2")
    assert masked("it said hunter2hunter2, twice: hunter2hunter2") == "it said ***, twice: ***"


def test_a_variable_that_was_asked_for_is_masked(monkeypatch):
    """The variable's name does not matter, and an address that holds the value is a secret too."""
    monkeypatch.setenv("MY_CHANNEL", "https://chat.example/T0/B1/x")
    assert secret_of("MY_CHANNEL", "watchers.webhook.url_from") == "https://chat.example/T0/B1/x"
    assert masked("no answer of https://chat.example/T0/B1/x/again") == "no answer of ***/again"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ghp_0123456789@host/path", "https://***@host/path"),
        ("s3://user:p@ss/word@host/bucket", "s3://***@host/bucket"),
        ("s3://user:p/ss@word@host/bucket", "s3://***@host/bucket"),
        ("redis://:hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("'https://name:word@host' and 'https://host/a@b'", "'https://***@host' and 'https://host/a@b'"),
    ],
)
def test_an_address_shows_neither_password_nor_token(address, shown):
    assert masked(address) == shown


@pytest.mark.parametrize("written", [
    str, repr, quote, quote_plus, json.dumps, lambda secret: " ".join(secret.split()),
    lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
])  # fmt: skip
def test_a_secret_is_known_however_it_is_written(monkeypatch, written):
    """A secret of several lines is masked also as addresses, Python and JSON escape it."""
    secret = "BEGIN KEY\nab/cd+ef 'ghä\nEND KEY\n"
    monkeypatch.setenv("SIGNING_KEY", secret)
    shown = masked(f"it said <{written(secret)}>")
    assert shown.replace("'", "").replace('"', "").replace("\\n", "") == "it said <***>"


def test_the_longest_goes_first(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefghijkl")
    assert masked("abcdefghijkl abcdefgh") == "*** ***"


def test_what_is_no_secret_stays(monkeypatch, tmp_path):
    """Short values, folders, and variables with other names are shown."""
    monkeypatch.setenv("KEYBOARD", "qwertyqwerty")
    monkeypatch.setenv("SOME_KEY", "short")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("OLDPWD", "/a/folder/that/is/gone")
    monkeypatch.setenv("PROXY_BYPASS", "intranet.example")
    text = (
        f"qwertyqwerty, short, {tmp_path}, s3://bucket/folder, https://host:8080/path@2, /a/folder/that/is/gone, "
        "intranet.example, abfs://container@account.dfs.core.windows.net/plays, http://[::1]:8080/a@b"
    )
    assert masked(text) == text


def test_a_variable_that_is_no_text_disturbs_nothing(monkeypatch):
    """The system allows any bytes in a variable."""
    monkeypatch.setitem(os.environ, "ODD_TOKEN", os.fsdecode(b"hunter2\xffhunter2"))
    assert masked("it said hunter2%FFhunter2") == "it said ***"


def test_a_variable_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.delenv("TOWERS_WEBHOOK_URL", raising=False)
    with pytest.raises(UserError, match=r"^watchers\.webhook\.url_from=TOWERS_WEBHOOK_URL: no such environment"):
        secret_of("TOWERS_WEBHOOK_URL", "watchers.webhook.url_from")


def test_a_saved_configuration_holds_no_secret(monkeypatch, tmp_path):
    """A logger of the user's own class may be given its key in the configuration."""
    monkeypatch.setenv("COMET_API_KEY", "hunter2hunter2")
    config = compose("train", ["+loggers=[{_target_: a.Logger, api_key: '${oc.env:COMET_API_KEY}'}]"])
    save_yaml(resolved(config), tmp_path / "config.yaml")
    saved = (tmp_path / "config.yaml").read_text()
    assert "hunter2hunter2" not in saved
    assert OmegaConf.create(saved).loggers[0].api_key == "***"


def test_a_saved_configuration_can_still_be_read(monkeypatch):
    """A secret may be a word that the configuration happens to hold, as many are in a small installation."""
    monkeypatch.setenv("BROKER_PASSWORD", "training")
    monkeypatch.setenv("DB_PASSWORD", "catalogue")
    monkeypatch.setenv("SORT_KEY", "content_id")
    monkeypatch.setenv("LONG_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("DOOR_KEY", "4711")
    written = {
        "trainer": {"_target_": "towers.training.trainer.Trainer", "of": "training on catalogue"},
        "data": {"name": "catalogue", "sort": ["content_id"], "root": "s3://name:word@host/plays"},
        "hooks": [{"url": "https://host/?t=0123456789abcdef", "password": "catalogue", "with": "0123456789abcdef"}],
        "own": {
            "login": "${oc.env:BROKER_PASSWORD}",
            "user": "${oc.env:NOBODY,training}",  # by chance the same as a secret that another key reads
            "number": 3,
            "door": "${oc.env:DOOR_KEY}",
            "with": "a?p=${oc.env:DB_PASSWORD}",
            "none": "${oc.env:NO_TOKEN,''}",
        },
    }
    expected = {
        **written,
        "data": {**written["data"], "root": "s3://***@host/plays"},
        "hooks": [{"url": "https://host/?t=***", "password": "***", "with": "***"}],
        "own": {"login": "***", "user": "***", "number": 3, "door": "***", "with": "a?p=***", "none": ""},
    }
    values = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    assert masked_settings(values, written) == expected
    assert masked_settings(expected) == expected


def test_a_secret_that_a_configuration_reads_is_masked_wherever_it_is_led(monkeypatch):
    """It may be short, come through another key, or be a part of a text."""
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    written = {
        "db": {"pw": "${oc.env:DB_PASSWORD}"},
        "sink": {"password": "${db.pw}", "dsn": "host=h;pw=${oc.env:DB_PASSWORD}", "user": "hunter2-the-user"},
    }
    values = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    assert masked_settings(values, written) == {
        "db": {"pw": "***"},
        "sink": {"password": "***", "dsn": "host=h;pw=***", "user": "hunter2-the-user"},
    }


def test_what_is_written_for_another_process_reads_secrets_from_the_environment(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "catalogue")
    monkeypatch.setenv("LONG_TOKEN", "0123456789abcdef")
    values = {
        "data": {"name": "catalogue", "of": "a catalogue"},
        "urls": ["https://host/?t=0123456789abcdef", "${data.name}", "\\d", 3],
    }
    named = named_secrets(values)
    assert named["data"] == {"name": "${oc.env:DB_PASSWORD}", "of": "a catalogue"}
    assert named["urls"][0] == "https://host/?t=${oc.env:LONG_TOKEN}"
    meant = [OmegaConf.to_container(OmegaConf.create(each), resolve=True) for each in (values, named)]
    assert meant[0] == meant[1]


@pytest.mark.unhooked
def test_a_traceback_shows_no_secret(monkeypatch):
    """An uncaught error of a library may name the address that it asked."""
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
