"""Weights from checkpoints of every version."""

import errno

import pytest
import torch

from towers.errors import UserError
from towers.training.checkpoints import Progress, digest_of_weights, load_weights, save_checkpoint

WEIGHTS = {"two_tower.weight": torch.arange(3.0), "table.rows": torch.arange(2)}


@pytest.mark.parametrize(
    "state",
    [
        {"learner": WEIGHTS},
        {"state_dict": {f"learner.{name}": tensor for name, tensor in WEIGHTS.items()}, "loops": {}},
    ],
    ids=["before Lightning's Trainer, and placed", "Lightning's"],
)
def test_weights_by_name(tmp_path, state):
    save_checkpoint(tmp_path / "best.ckpt", {"signature": "tiny", **state})
    found = load_weights(tmp_path / "best.ckpt")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())


def test_only_weights_make_a_digest(tmp_path):
    def digest(**state):
        save_checkpoint(tmp_path / "best.ckpt", state)
        return digest_of_weights(tmp_path / "best.ckpt")

    first = digest(signature="tiny", learner=WEIGHTS)
    loops = {"state_dict": {f"learner.{name}": tensor for name, tensor in WEIGHTS.items()}, "loops": {}}
    assert digest(signature="another", **loops) == first
    changed = {**WEIGHTS, "two_tower.weight": torch.tensor([0.0, 1.0, 3.0])}
    reshaped = {**WEIGHTS, "two_tower.weight": torch.arange(3.0)[None]}
    assert len({first, digest(signature="tiny", learner=changed), digest(signature="tiny", learner=reshaped)}) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn"])
def test_what_is_none_is_refused(tmp_path, content):
    (tmp_path / "best.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_weights(tmp_path / "best.ckpt")


def test_a_disk_that_cannot_be_read_is_no_reason_to_delete(tmp_path, monkeypatch):
    (tmp_path / "best.ckpt").write_bytes(b"whole")

    def broken(*given, **named):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(OSError, match="Input/output error"):
        load_weights(tmp_path / "best.ckpt")


def test_only_finite_figures_are_the_best():
    progress = Progress(metrics={})
    for epoch, found in enumerate([float("nan"), 0.2, float("inf"), 0.1, 0.3], start=1):
        progress.epoch = epoch
        progress.note_best(found)
    assert (progress.best, progress.best_epoch) == (0.3, 5)
