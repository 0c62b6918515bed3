"""Pictures of an evaluation in the run that training has written."""

import pytest

from towers.evaluation.report.drawing import Series, dot_chart, png
from towers.training.loggers import log_images, wandb_logger


@pytest.mark.unhooked
def test_pictures_go_to_the_run_of_the_training(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # has no netrc
    (logger,) = wandb_logger(tmp_path, "demo/0123", {"seed": 0}, "towers")
    logger.log({"loss": 0.5}, step=1)
    logger.close(True)
    picture = png(dot_chart(["all"], [Series(name="model", means=[0.5], place=0)], xlabel="recall"))
    log_images(tmp_path, "demo/0123", "towers", {"headline": picture})
    runs = sorted((tmp_path / "wandb").glob("offline-run-*-demo-0123"))
    (logged,) = (tmp_path / "wandb").glob("offline-run-*-demo-0123/files/media/images/evaluation/headline_*.png")
    assert logged.is_relative_to(runs[-1])
    assert logged.read_bytes().startswith(b"\x89PNG")
