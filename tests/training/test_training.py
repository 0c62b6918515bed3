"""Two epochs on the tiny world: the loss falls, a seed fixes every bit, and every part learns."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from towers.data.datamodule import UserBatches
from towers.training.embed import embed_contents, embed_users
from towers.training.loggers import CsvLogger
from towers.training.module import _warmup_cosine
from towers.training.trainer import BEST, LAST, make_trainer


def mean_loss(module, data):
    """Over one epoch's batches, without dropout."""
    module.eval()
    losses = []
    with torch.no_grad():
        for batch in data.train_dataloader():
            contents = module.table.batch(batch.content_rows)
            vectors = module.two_tower.encode_contents(contents)
            states = module.two_tower.encode_histories(batch.histories, vectors).flatten(0, 1)
            losses.append(
                module.objective(
                    states[batch.target_position], vectors, batch.target_index, batch.target_weight,
                    batch.candidate_index, batch.candidate_log_q,
                ).item()
            )  # fmt: skip
    module.train()
    return float(np.mean(losses))


@pytest.fixture(scope="module")
def trained(make_run, tmp_path_factory):
    """Two epochs."""
    folder = tmp_path_factory.mktemp("run")
    module, data = make_run()
    module.on_fit_start()
    before = mean_loss(module, data)
    module, data = make_run()
    trainer = make_trainer(
        folder, [CsvLogger(folder / "metrics.csv")], max_epochs=2, validate_every_epochs=1,
        monitor="validation/ndcg@5", gradient_clip=1.0, accelerator="cpu", precision="auto", progress=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return SimpleNamespace(
        module=module, optimizer=trainer.optimizers[0], before=before, after=mean_loss(module, data), folder=folder
    )


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_the_loss_falls(trained):
    assert trained.after < 0.9 * trained.before


def test_validation_is_logged_and_the_checkpoints_are_there(trained):
    assert {path.name for path in trained.folder.iterdir()} == {f"{BEST}.ckpt", f"{LAST}.ckpt", "metrics.csv"}
    with (trained.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    validations = [row for row in rows if row.get("validation/ndcg@5")]
    assert len(validations) == 2
    assert all(0 <= float(row["validation/ndcg@5"]) <= 1 for row in validations)


def test_checkpoints_load_without_pickles(trained):
    checkpoint = torch.load(trained.folder / f"{LAST}.ckpt", weights_only=True)
    assert_equal_bits(checkpoint["state_dict"], weights(trained.module))


def test_the_same_seed_gives_the_same_bits(trained, make_run, make_small_trainer):
    module, data = make_run()
    make_small_trainer(2).fit(module, datamodule=data)
    assert_equal_bits(weights(module), weights(trained.module))


def test_a_resumed_run_sees_the_batches_of_the_epoch_it_goes_on_with(trained, make_run, make_small_trainer, tmp_path):
    """One epoch, then one more from the checkpoint: as many steps, and a loss like that of two in one go."""
    module, data = make_run()
    make_small_trainer(1).fit(module, datamodule=data)
    module, data = make_run()
    trainer = make_small_trainer(2)
    trainer.fit(module, datamodule=data, ckpt_path=tmp_path / f"{LAST}.ckpt", weights_only=True)
    assert trainer.current_epoch == 2
    assert trainer.global_step == 2 * len(data.train_dataloader())
    # Dropout is drawn anew, so the bits differ.
    assert mean_loss(module, data) == pytest.approx(trained.after, rel=0.1)


def test_another_seed_gives_other_bits(make_run):
    one, other = weights(make_run(0)[0]), weights(make_run(1)[0])
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_every_part_gets_a_gradient(make_run):
    module, data = make_run()
    module.log = lambda *args, **keywords: None  # there is no trainer to hear it
    module.on_fit_start()
    for batch in data.train_dataloader():
        module.training_step(batch, 0).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_step_writes_fresh_sound_back(make_run):
    module, data = make_run()
    module.log = lambda *args, **keywords: None
    batch = next(iter(data.train_dataloader()))
    rows = batch.content_rows[batch.fresh_index]
    assert (module.table.batch(rows).audio == 0).all()
    module.training_step(batch, 0)
    assert (module.table.batch(rows).audio.abs().sum(dim=1) > 0).all()


def test_only_matrices_of_the_network_decay(trained):
    module, optimizer = trained.module, trained.optimizer
    names = {parameter: name for name, parameter in module.named_parameters()}
    decayed, plain = ({names[parameter] for parameter in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert decayed | plain == set(names.values())
    assert not decayed & plain
    assert "two_tower.user_tower._out.weight" in decayed
    assert any(name.startswith("two_tower.audio_encoder._stages") for name in decayed)
    for name in ("content_tower._id_delta.weight", "user_tower._action.weight", "user_tower._norm.weight"):
        assert f"two_tower.{name}" in plain
    assert "objective._log_temperature" in plain
    assert all(names[parameter] in plain for parameter in names if parameter.ndim < 2)


def test_the_rate_rises_and_then_falls_to_nothing():
    rates = [_warmup_cosine(3, 13, step) for step in range(14)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rates[3] == 1
    assert rates[8] == pytest.approx(0.5)
    assert rates[13] == pytest.approx(0)
    assert (np.diff(rates[3:]) < 0).all()
    assert _warmup_cosine(0, 10, 0) == 1
    assert _warmup_cosine(5, 3, 7) == pytest.approx(0)  # a warm-up longer than the training


class TestTrainer:
    @pytest.fixture
    def precision_of(self, tmp_path):
        def precision(name, accelerator="cpu"):
            trainer = make_trainer(
                tmp_path, [], max_epochs=1, validate_every_epochs=1, monitor="loss", gradient_clip=1.0,
                accelerator=accelerator, precision=name, progress=False,
            )  # fmt: skip
            return trainer.precision

        return precision

    def test_auto_is_full_precision_on_a_cpu(self, precision_of):
        assert precision_of("auto") == "32-true"

    def test_what_is_asked_for_is_given(self, precision_of):
        assert precision_of("bf16-mixed") == "bf16-mixed"

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_auto_is_bf16_on_cuda(self, precision_of):
        assert precision_of("auto", "auto") == "bf16-mixed"


def test_vectors_rank_what_they_were_trained_on(trained, world_store):
    """No claim of quality, only that rows of vectors and rows of the store belong together."""
    histories = world_store.histories
    users = np.arange(histories.num_users)
    vectors = embed_contents(trained.module.two_tower, trained.module.table)
    batches = UserBatches(world_store, histories.train_end, users, max_length=20, max_tokens=200)
    scores = embed_users(trained.module.two_tower, batches, vectors) @ vectors.numpy().T
    heard = np.zeros(scores.shape, dtype=bool)
    for user in users:
        rows = histories.content_row[histories.offsets[user] : histories.train_end[user]]
        heard[user, rows[histories.is_positive[histories.offsets[user] : histories.train_end[user]]]] = True
    trained_rows = world_store.train_positives > 0
    assert scores[heard].mean() > scores[~heard & trained_rows].mean() + 0.05
