"""A Trainer as users of Lightning expect it, and the parts that Towers does itself."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyLogger

from tests.training.conftest import SETTINGS
from towers.errors import UserError
from towers.training.run_folder import LAST
from towers.training.stopping import StopRequest
from towers.training.trainer import Trainer


class Seen(pl.Callback):
    """Records the calls that a user's callback gets."""

    def __init__(self):
        self.losses = []
        self.validations = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())

    def on_validation_end(self, trainer, pl_module):
        self.validations.append(trainer.callback_metrics["validation/ndcg@5"].item())


class LearningRates(pl.Callback):
    """Records the learning rates of twenty steps, as the optimiser has taken them, and ends the training."""

    def __init__(self):
        self.found = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.found.append(optimizer.param_groups[0]["lr"])
        trainer.should_stop |= len(self.found) == 20


WEIGHT = "two_tower.user_tower._out.weight"


def test_a_callback_sees_losses_and_metrics(trained, make_run, tmp_path):
    seen = Seen()
    run = make_run(tmp_path, callbacks=[seen])
    progress = run.train()
    assert len(seen.losses) == progress.step == run.trainer.global_step
    logged = [float(row["loss"]) for row in trained.rows if row["loss"]]
    assert [seen.losses[place] for place in (9, 19)] == pytest.approx(logged[:2])
    assert seen.validations[-1] == pytest.approx(progress.metrics["validation/ndcg@5"])


def test_a_stock_callback_writes_into_the_curve(trained, make_run, tmp_path):
    run = make_run(tmp_path, callbacks=[LearningRateMonitor("step")])
    run.train()
    rates = [float(row["lr-AdamW/pg1"]) for row in run.rows() if row["lr-AdamW/pg1"]]
    assert len(rates) == trained.steps // 10
    assert 0 < rates[-1] < 0.01


def test_a_callers_own_checkpoints(make_run, tmp_path):
    run = make_run(tmp_path / "run", callbacks=[ModelCheckpoint(tmp_path / "mine", "{epoch}", save_top_k=-1)])
    run.train()
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"epoch=0.ckpt", "epoch=1.ckpt"}


def test_some_batches_of_each_epoch(make_run, tmp_path):
    run = make_run(tmp_path, limit_train_batches=3)
    progress = run.train()
    assert (progress.step, progress.epoch) == (6, 2)
    assert [row["epoch"] for row in run.rows() if row["validation/ndcg@5"]] == ["1.0", "2.0"]


@pytest.mark.parametrize(("fast_dev_run", "steps"), [(True, 1), (3, 3)])
def test_a_trial_goes_all_the_way_and_keeps_nothing(make_run, tmp_path, fast_dev_run, steps):
    run = make_run(tmp_path, fast_dev_run=fast_dev_run)
    assert run.train().step == steps
    assert run.module.progress.metrics["validation/ndcg@5"] >= 0
    assert not list(tmp_path.iterdir())


def test_time_is_up(make_run, tmp_path):
    """The run validates and ends; a second start has nothing to do."""
    progress = make_run(tmp_path, max_time="00:00:00:01", max_epochs=1_000, validate_every_epochs=1_000).train()
    assert progress.step > 0
    assert progress.has_ended
    assert progress.metrics["validation/ndcg@5"] >= 0
    assert make_run(tmp_path, max_epochs=1_000).train().step == progress.step


@pytest.mark.parametrize("profiler", ["simple", "advanced"])
def test_a_profile_is_a_file(make_run, tmp_path, profiler):
    make_run(tmp_path, profiler=profiler, limit_train_batches=2).train()
    text = (tmp_path / "fit-profile.txt").read_text()
    assert "training_step" in text


def test_anomalies_are_named(make_run, tmp_path):
    run = make_run(tmp_path, detect_anomaly=True)
    weight = dict(run.learner.named_parameters())[WEIGHT]
    run.learner.objective.register_forward_hook(lambda module, given, loss: loss + (weight.sum() * 0).sqrt() * 0)
    with pytest.raises(RuntimeError, match="returned nan values"):
        run.train()


def test_a_validation_of_its_own(trained, make_run):
    """The command `trainer.validate` on a checkpoint gives the figures of the training, and leaves the run as it is."""
    before = (trained.folder / LAST).read_bytes(), trained.run.rows()
    run = make_run(trained.folder)
    run.trainer.loggers = [DummyLogger()]
    (found,) = run.trainer.validate(run.module, run.data, ckpt_path=trained.folder / LAST, verbose=False)
    assert found["validation/ndcg@5"] == pytest.approx(trained.progress.metrics["validation/ndcg@5"])
    assert ((trained.folder / LAST).read_bytes(), run.rows()) == before


class TestATrainerOfOnesOwn:
    """A user's own trainer has no callback of `towers train`, and any of Lightning's limits."""

    @staticmethod
    def made(**settings):
        return pl.Trainer(
            accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, **settings,
        )  # fmt: skip

    def test_a_second_fit_trains_again(self, make_run, tmp_path):
        run = make_run(tmp_path)
        for _ in range(2):
            before, trainer = run.tensors(), self.made(max_epochs=1, enable_checkpointing=False)
            trainer.fit(run.module, datamodule=run.data)
            assert trainer.global_step == run.module.progress.step > 0
            assert not torch.equal(run.tensors()[WEIGHT], before[WEIGHT])

    @pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
    @pytest.mark.slow
    def test_more_epochs_from_the_end_of_a_training(self, make_run, tmp_path):
        first = make_run(tmp_path)
        trainer = self.made(max_epochs=1, callbacks=[ModelCheckpoint(tmp_path)])
        trainer.fit(first.module, datamodule=first.data)
        then = make_run(tmp_path)
        found = self.made(max_epochs=2, enable_checkpointing=False)
        found.fit(then.module, datamodule=then.data, ckpt_path=trainer.checkpoint_callback.best_model_path)
        assert then.module.progress.step == found.global_step == 2 * trainer.global_step

    @pytest.mark.parametrize(
        ("limits", "factors"),
        [({"max_epochs": 2}, (0.5, 0.025)), ({"max_steps": 20}, (0.5, 0.025)), ({"max_steps": 30}, (0.75, 0.25)),
         ({"max_epochs": -1}, (1.0, 1.0))],
    )  # fmt: skip
    def test_the_rate_falls_towards_the_end_that_is_known(self, make_run, tmp_path, limits, factors):
        """The rate falls by half a cosine, in epochs of ten steps; without a known end it stays."""
        rates = LearningRates()
        run = make_run(tmp_path)
        self.made(callbacks=[rates], enable_checkpointing=False, **limits).fit(run.module, datamodule=run.data)
        assert [rates.found[place] / rates.found[2] for place in (10, 19)] == pytest.approx(factors, abs=0.05)


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("max_epochs", 0), ("micro_batches", 0), ("patience", 0), ("limit_train_batches", 0), ("gradient_clip", 0.0),
         ("max_skipped", -1), ("fast_dev_run", -1), ("precision", "half"), ("profiler", "xla")],
    )  # fmt: skip
    def test_values_that_will_not_do(self, name, value):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            Trainer(**{**SETTINGS, name: value})

    @pytest.mark.parametrize(("name", "value"), [("accelerator", "abacus"), ("max_time", "soon")])
    def test_values_that_lightning_does_not_know(self, tmp_path, name, value):
        settings = Trainer(**{**SETTINGS, name: value})
        with pytest.raises(UserError, match=rf"^trainer.*{value}"):
            settings.lightning(tmp_path, "tiny", StopRequest(), (), is_judged=True)
