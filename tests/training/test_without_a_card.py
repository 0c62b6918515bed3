"""A step, a refresh of sounds and a validation on torch's meta device: each tensor is made on the right device, and no
step waits for the GPU.

`Card` says what is seen and what is not.
"""

from functools import partial
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks.training.card import CUDA, AnyPlace, Card, HostWaits, WrongDevice
from tests.training.test_processes import OBJECTIVES
from towers.assembly.network import heard_by
from towers.data.training_batches import Share
from towers.models import attention
from towers.models.audio.augmentation import Augmentation
from towers.models.audio.encoder import ConvAudioEncoder, NoAudioEncoder, StatisticsAudioEncoder
from towers.models.audio.frozen import FrozenAudioEncoder
from towers.models.audio.joined import JoinedAudioEncoder
from towers.models.audio.mobile import MobileAudioEncoder
from towers.models.audio.patch import PatchAudioEncoder
from towers.models.blocks import LiGRBlock, SASRecBlock, SwiGLUBlock
from towers.models.content_tower import ContentTower
from towers.models.positions import Learned
from towers.models.rows import Divided
from towers.models.user_tower import UserTower
from towers.training.embed import embed_contents, refresh_audio
from towers.training.optimizing import Reports, adamw, advance, clip_gradients
from towers.training.placement import Placement
from towers.training.processes import Processes
from towers.training.step import accumulate_gradient
from towers.training.torch_ranker import TorchRanker

pytestmark = pytest.mark.unhooked

ALONE = Share()
IN_A_STEP = {
    "towers.training.optimizing.rest": "the figures of the step before, which has ended while this one was queued",
}
IN_A_REFRESH = {
    "towers.training.staleness.figures": "two numbers of a whole refresh, which are logged",
}
AT_THE_ENDS = {
    "pytorch_lightning.strategies.single_device.model_to_device": "weights go to the card once",
    "pytorch_lightning.loops.evaluation_loop.setup_data": "Lightning asks whether a validation has batches",
    "pytorch_lightning.strategies.strategy.teardown": "and come back once",
    "pytorch_lightning.trainer.connectors.logger_connector.logger_connector.teardown": "so do metrics",
    "towers.training.embed.embed_users": "vectors of a batch of listeners go to the host, which ranks",
    "towers.training.validation.metrics": "so do those of the contents",
    "towers.training.module.on_validation_epoch_end": "the temperature is logged",
    "pytorch_lightning.core.module.__to_tensor": "Lightning keeps metrics on the card",
    "pytorch_lightning.trainer.connectors.logger_connector.result.to": "and gives them to callbacks",
    "towers.training.trainer.check_monitor_top_k": "whether a validation is the best so far",
    "towers.training.checkpoints.save_checkpoint": "what is saved goes to the disk by way of the host",
}
"""Every place that may make the host wait, with the reason."""

AUGMENTED = {"gain_db": 6.0, "noise": 0.1, "time_masks": 1, "time_mask_frames": 9, "frequency_masks": 1,
             "frequency_mask_bands": 3}  # fmt: skip


@pytest.fixture(scope="module")
def vectors_elsewhere(world_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "vectors.parquet"
    ids = [str(content_id) for content_id in world_store.content_ids[1::2] if content_id]
    vectors = np.random.default_rng(0).standard_normal((len(ids), 6)).astype(np.float32).tolist()
    pq.write_table(pa.table({"content_id": ids, "vector": vectors}), path)
    return path


@pytest.fixture(scope="module")
def step(make_data, world_store):
    """Runs one step of a learner on the card, as the module does it, and the validation that may follow."""

    def run(learner, is_validated=True, sent=lambda batch: batch.pin_memory().to("cuda"), share=ALONE):
        sounds = heard_by(learner.two_tower.audio_encoder, world_store)
        learns = learner.two_tower.audio_encoder.learns
        extra = {"sounds": sounds} if learns else {"num_fresh_sounds": 0}
        data = make_data(learner.objective, max_tokens=400, tables=learner.tables(), share=share, **extra)
        (batch, *_), histories = data.training(1), next(iter(data.validation()))
        learner.train().to("meta")  # weights come once
        optimizer = adamw(learner, lr=0.01, id_lr=0.02, weight_decay=0.01, id_weight_decay=0.1, betas=(0.9, 0.98))
        alone, reports = Processes(share), Reports()
        with Card() as card:
            precision = torch.autocast("cuda", torch.bfloat16)
            loss, fresh = accumulate_gradient(learner, sent(batch), alone, precision)
            assert (fresh is not None) == learns
            alone.sum_gradients(learner.parameters())
            norm = clip_gradients(learner.parameters(), 1.0, learner.divided_ids(), alone.sum_)
            is_finite = torch.isfinite(norm) & torch.isfinite(loss)
            advance(optimizer, is_finite, optimizer.step)
            if fresh is not None:
                learner.table.remember(fresh.content_rows, fresh.vectors, is_finite, fresh.routes)
            assert reports.add("step", torch.stack([loss, norm])) == []
            if not is_validated:
                return card
            with precision:
                if sounds is not None:
                    refresh_audio(learner.two_tower, learner.table, sounds.records, alone)
                contents = embed_contents(learner.two_tower, learner.table)
                states = learner.two_tower.encode_users(histories.pin_memory().to("cuda"), contents)
            assert states.device == CUDA
        return card

    return run


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective(step, make_learner, make_objective, name):
    keywords = {"num_rejections": 2, "rejection_weight": 0.5, "mask_heard": True, "mask_unavailable": True}
    objective = make_objective(name, **({} if name == "gbce" else keywords))
    card = step(make_learner(objective=objective, audio_encoder=NoAudioEncoder), is_validated=False)
    assert card.precisions == {torch.bfloat16, torch.float32}


def encoders(path):
    small = {"dim": 8, "dropout": 0.1, "augmentation": Augmentation(**AUGMENTED)}
    blocks = {"channels": (4, 4), "depths": (1, 2), "expansions": (1, 2), "kernel_size": 3}
    made = partial(FrozenAudioEncoder, path=str(path))
    conv = partial(ConvAudioEncoder, channels=(4, 4), **small)
    return {

        "mobile": partial(MobileAudioEncoder, **blocks, **small),
        "patch": partial(PatchAudioEncoder, width=16, num_layers=1, num_heads=2, patch_bands=4, patch_frames=4,
                         window_frames=16, block=partial(SwiGLUBlock, expansion=2), **small),
        "frozen": made,
        "joined": partial(JoinedAudioEncoder, encoders={"own": conv, "made": made}),
    }  # fmt: skip


def without_metadata(vocabulary_sizes, **others):
    return ContentTower(vocabulary_sizes={}, **others)


@pytest.mark.parametrize("name", ["mobile", "patch", "frozen", "joined"])
def test_every_encoder_and_its_refresh(step, make_learner, vectors_elsewhere, name):
    """The encoder `statistics` is tested below, and Lightning trains `conv`."""
    step(make_learner(audio_encoder=encoders(vectors_elsewhere)[name]))


@pytest.mark.parametrize("encoder", [NoAudioEncoder, StatisticsAudioEncoder])
def test_without_metadata(step, make_learner, encoder):
    """Contents have ids alone, or ids with sound."""
    step(make_learner(audio_encoder=encoder, content_tower=without_metadata))


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 5},
        {"block": partial(LiGRBlock, expansion=2), "event_dropout": 0.2},
        {
            "block": partial(SASRecBlock, expansion=1, activation="relu"),
            "positions": partial(Learned, max_length=9),
        },
    ],
)
def test_every_user_tower(step, make_learner, settings):
    """Attention runs packed, in the kernel for bfloat16, except within a window."""
    given = []
    kernel = attention.PACKED_KERNEL

    def watched(query, *others):
        given.append(query.dtype)
        return kernel(query, *others)

    with mock.patch.object(attention, "PACKED_KERNEL", watched if kernel else None):
        step(make_learner(audio_encoder=NoAudioEncoder, user_tower=partial(UserTower, **settings)), is_validated=False)
    is_packed = kernel is not None and "window" not in settings  # torch 2.9 has no such kernel
    assert set(given) == ({torch.bfloat16} if is_packed else set())


@pytest.mark.parametrize("ranks", [1, 2])
def test_tables_that_are_divided(step, make_learner, ranks):
    """No rank waits to learn how many rows go where; of two ranks the other one is torch's fake."""
    if ranks > 1:
        dist.init_process_group("fake", rank=1, world_size=ranks, store=FakeStore())
    try:
        share = Share(rank=ranks - 1, ranks=ranks)
        step(make_learner(rows=Divided(rank=share.rank, ranks=ranks)), is_validated=ranks == 1, share=share)
    finally:
        if ranks > 1:
            dist.destroy_process_group()


class Watched(pl.Callback):
    """Records the waits of each step, and the device of the module."""

    def __init__(self, card):
        self.card, self.steps, self.devices = card, [], set()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.devices.add(pl_module.device)
        self.before = self.card.waits.copy()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append(self.card.waits - self.before)


def test_a_training_by_lightning(make_run, tmp_path):
    """The training has a loader, steps, a refresh in between, rows for loggers, validation, checkpoints: all that
    `towers train` runs.
    """
    with Card([*IN_A_STEP, *IN_A_REFRESH, *AT_THE_ENDS]) as card:
        watched = Watched(card)
        run = make_run(
            tmp_path, accelerator="gpu", precision="auto", refresh_sounds_every_steps=3, limit_train_batches=5,
            max_epochs=1, callbacks=[watched], judge=lambda users, contents: {"ndcg@5": 0.0},
        )  # fmt: skip
        progress = run.train()
    assert progress.step == 5
    assert watched.devices == {CUDA}
    assert card.precisions == {torch.bfloat16, torch.float32}
    assert (tmp_path / "last.ckpt").exists()
    plain, refreshing = set(IN_A_STEP), {*IN_A_STEP, *IN_A_REFRESH}
    assert [set(step) for step in watched.steps] == [set(), plain, refreshing, set(), plain]  # a refresh reads the rest
    assert set(card.waits) == {*IN_A_STEP, *IN_A_REFRESH, *AT_THE_ENDS}  # none is in the list in vain


def test_what_comes_after_a_training_stands_on_one_side(make_learner, world_store, judge_task):
    """Contents are placed, and an evaluation ranks; both may wait."""
    trained, placed = (make_learner(seed).to("meta") for seed in (0, 1))
    rows = torch.arange(5).to("meta")
    users, contents = (
        np.ones((count, 4), np.float32) for count in (len(judge_task.user_rows), len(world_store.content_ids))
    )
    sounds = world_store.sounds
    with Card(AnyPlace()) as card:
        placement = Placement(None, epochs=1, batch_size=4, lr=0.01, weight_decay=0.0)
        placement.fit(trained, placed, sounds, sounds, rows, crop_frames=20, seed=0, passed=lambda done, total: None)
        TorchRanker(judge_task, "towers", users, contents, device=CUDA, tile_size=9).rank(np.arange(2), 5)
    assert {place.split(".")[2] for place in card.waits} == {"placement", "torch_ranker"}


class TestWhatIsWrongFails:
    def broken(self, make_learner, mistake):
        """Returns a learner whose states pass through a mistake."""
        learner = make_learner(audio_encoder=NoAudioEncoder)
        learner.objective.temperature.register_forward_hook(lambda module, given, made: mistake(made))
        return learner

    def test_a_step_with_a_tensor_on_the_host(self, step, make_learner):
        learner = self.broken(make_learner, lambda states: states * torch.ones(len(states), 1))
        with pytest.raises(WrongDevice, match=r"of the card, .* of the host"):
            step(learner)

    def test_a_step_that_reads_a_number(self, step, make_learner):
        learner = self.broken(make_learner, lambda states: states * states.max().item())
        with pytest.raises(HostWaits, match=r"towers\.training\.objectives\.softmax.*: item"):
            step(learner)

    def test_a_batch_that_is_not_pinned(self, step, make_learner):
        with pytest.raises(HostWaits, match="not pinned"):
            step(make_learner(audio_encoder=NoAudioEncoder), sent=lambda batch: batch.to("cuda"))

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda x: x * torch.ones(x.shape),
            lambda x: x[torch.arange(len(x))],
            lambda x: x.add_(torch.ones(x.shape)),
            lambda x: torch.ones(()).add_(x.sum()),
            lambda x: torch.cat([x, torch.zeros(1, 3)]),
        ],
    )
    def test_both_sides(self, mistake):
        with Card(["elsewhere"]), pytest.raises(WrongDevice):
            mistake(torch.ones(4, 3, device="cuda"))

    @pytest.mark.parametrize(
        ("mistake", "told"),
        [
            (lambda x: x.sum().item(), "item"),
            (lambda x: float(x.sum()), "__float__"),
            (lambda x: x if x.sum() > 0 else -x, "__bool__"),
            (lambda x: x.tolist(), "tolist"),
            (lambda x: x.cpu(), "copied from it"),
            (lambda x: torch.empty(4, 3).copy_(x, non_blocking=True), "copied from it"),
            (lambda x: torch.equal(x, x), "equal"),
            (lambda x: x[x > 0], "depends on values"),
            (lambda x: x.nonzero(), "depends on values"),
            (lambda x: x.unique(), "depends on values"),
            (lambda x: torch.tensor(0.5, device=x.device), "is given values of the host"),
            (lambda x: x[[0, 2]], "is given values of the host"),
            (lambda x: torch.ones(4, 3).to(x.device, non_blocking=True), "not pinned"),
            (lambda x: torch.ones(4, 3).pin_memory().to(x.device), "blocking"),
            (lambda x: x.copy_(torch.ones(4, 3)), "blocking"),
            (lambda x: torch.cuda.synchronize(), "synchronize"),
            (lambda x: np.asarray(x.detach()), "__array__"),
        ],
    )
    def test_a_wait(self, mistake, told):
        with Card(), pytest.raises(HostWaits, match=told):
            mistake(torch.ones(4, 3, device="cuda"))

    def test_what_is_right_does_not(self):
        with Card() as card:
            x = torch.ones(4, 3, device="cuda") * torch.tensor(2.0) + torch.ones(4, 3).pin_memory().to(
                "cuda", non_blocking=True
            )
            torch.empty(4, 3, pin_memory=True).copy_(x, non_blocking=True)
            x[:, 0] = 1.0
        assert not card.waits
