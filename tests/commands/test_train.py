"""A training in processes of its own reads its configuration from a file, which holds no secret."""

import pytest

from towers.commands.train import _written_down
from towers.config.composing import compose, composed, narrowed, resolved, seen_by

SECRET = "hunter2hunter2"
OVERRIDES = (
    "experiment=demo",
    "+mine.credential='${oc.env:COMET_API_KEY}'",  # no training reads it: values that follow from it become plain
    "+loggers=[{_target_: a.Logger, api_key: '${oc.env:COMET_API_KEY}', key: '${mine.credential}', n: '${data.name}'}]",
)


@pytest.mark.parametrize("command", ["train", "retrain"])
def test_the_file_holds_no_secret_and_means_the_same(tmp_path, monkeypatch, command):
    monkeypatch.setenv("COMET_API_KEY", SECRET)
    config = seen_by("train", compose(command, OVERRIDES))
    arguments = _written_down(config, tmp_path)
    assert arguments == ["--config-dir", str(tmp_path), "--config-name", "whole"]
    assert SECRET not in (tmp_path / "whole.yaml").read_text()
    read = resolved(narrowed("train", composed("whole", [], str(tmp_path)), []))
    assert [read["loggers"][0][name] for name in ("api_key", "key")] == [SECRET, SECRET]
    assert read["loggers"][0]["n"] == config.data.name
    assert read == resolved(config)
