"""Wrong names of callbacks and loggers on the command line give one line, before the first step."""

import pytest

from towers.config.composing import compose
from towers.errors import UserError

MONITORED = "trainer.callbacks=[{{_target_: pytorch_lightning.callbacks.{}, monitor: {}}}]"


@pytest.fixture
def train(world_store, tmp_path, monkeypatch):
    """`towers train` of the tiny world, in-process."""
    from towers.commands.train import run

    monkeypatch.setattr("towers.assembly.prepared.PreparedStore.open", lambda self: world_store)
    monkeypatch.chdir(tmp_path)
    small = ("experiment=demo", "logger=csv", "evaluation.min_users=2", "datamodule.crop_s=0.5",
             "trainer.accelerator=cpu", "trainer.monitor=validation/recall@20")  # fmt: skip
    return lambda *overrides: run(compose("train", [*small, *overrides]))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.callbacks=[LearningRateMonitor]", r"^trainer\.callbacks=\['LearningRateMonitor'\]: must be list"),
        (MONITORED.format("EarlyStopping", "val_loss"), r"EarlyStopping watches val_loss, .* such as validation/hit_"),
        (MONITORED.format("ModelCheckpoint", "val_loss"), "ModelCheckpoint watches val_loss"),
        (
            "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.1}]",
            "acts after the last checkpoint",
        ),
        ("trainer.callbacks=[{_target_: pytorch_lightning.callbacks.BatchSizeFinder}]", "^trainer: Field batch_size"),
        ("loggers=[tensorboard]", r"^loggers\[0\]=tensorboard: give a logger by its _target_"),
    ],
)
def test_what_will_not_do(train, tmp_path, override, line):
    with pytest.raises(UserError, match=line):
        train(override)
    assert not list(tmp_path.glob("**/*.ckpt"))


@pytest.mark.parametrize(("crop_s", "lines"), [(20, 1), (1, 0)])
def test_a_crop_that_is_longer_than_a_record_is_told(train, capsys, crop_s, lines):
    train(f"datamodule.crop_s={crop_s}", "trainer.fast_dev_run=1", "trainer.progress=false")
    told = [line for line in capsys.readouterr().out.splitlines() if "crop_s" in line]
    assert len(told) == lines
    assert all("datamodule.crop_s=20.0 is more than features.spectrogram.record_s=1.0" in line for line in told)


def test_nothing_is_watched_where_nothing_is_validated(train):
    with pytest.raises(UserError, match=r"EarlyStopping watches .*; only train_until=validation validates"):
        train(MONITORED.format("EarlyStopping", "validation/recall@20"), "train_until=test")
