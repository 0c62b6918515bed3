"""The page for users of Lightning: its code runs as it stands."""

import re
from pathlib import Path

import pytest

from towers.config.composing import compose

PAGE = Path(__file__).parents[2] / "docs" / "lightning.md"


def code():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


def test_it_is_fifteen_lines_without_blank_ones():
    assert len([line for line in code().splitlines() if line.strip()]) <= 15


def test_the_code_trains(world_store, tmp_path, monkeypatch, capsys):
    """The page's code runs on the tiny world's store in the place of the demo's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("towers.assembly.prepared.PreparedStore.open", lambda self: world_store)
    small = ("evaluation.min_users=2", "datamodule.max_tokens=200", "datamodule.crop_s=0.5", "logger=csv",
             "trainer.monitor=validation/recall@20", "trainer.accelerator=cpu", "user_tower.num_layers=1")  # fmt: skip
    monkeypatch.setattr("towers.api.compose", lambda name, overrides: compose(name, [*overrides, *small]))
    exec(compile(code().replace('accelerator="auto"', 'accelerator="cpu", logger=False'), str(PAGE), "exec"), {})
    out = capsys.readouterr().out
    steps = re.findall(r"^(\d+) \d+\.\d+$", out, re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) > 4
    recalls = [float(recall) for recall in re.findall(r"^(\d\.\d+)$", out, re.MULTILINE)]
    assert len(recalls) == 3  # of Lightning's sanity check before training, too
    assert all(0 <= recall <= 1 for recall in recalls)
    assert list(tmp_path.glob("**/*.ckpt"))


@pytest.mark.parametrize("name", re.findall(r"pytorch_lightning\.(?:callbacks|loggers)\.(\w+)", PAGE.read_text()))
def test_what_the_page_names_is_there(name):
    import pytorch_lightning as pl

    assert hasattr(pl.callbacks, name) or hasattr(pl.loggers, name)
