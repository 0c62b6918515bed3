"""A run on the tiny world, small enough for seconds."""

from functools import partial

import pytest


@pytest.fixture(scope="session")
def judge_task(world_store):
    from towers.evaluation.from_store import task_from_store

    return task_from_store(world_store, "validation")


@pytest.fixture(scope="session")
def make_run(world_store, judge_task):
    """A fresh (module, data) on the tiny world, everything fixed by the seed."""
    import pytorch_lightning as pl
    import torch

    from towers.assembly import build_content_table, build_two_tower
    from towers.data.datamodule import DataModule
    from towers.evaluation.harness import evaluate
    from towers.evaluation.vectors import VectorRanker
    from towers.models.audio_encoder import ConvAudioEncoder
    from towers.models.content_tower import ContentTower
    from towers.models.user_tower import UserTower
    from towers.training.module import TowersModule
    from towers.training.negatives import InBatchAndUniform
    from towers.training.objective import Softmax

    def judge(users, contents):
        return evaluate(
            judge_task, VectorRanker(judge_task, "towers", users, contents), filter_seen=False, ks=(5,), min_users=1
        ).means()

    def make(seed=0):
        pl.seed_everything(seed, verbose=False)
        two_tower = build_two_tower(
            world_store,
            partial(ConvAudioEncoder, dim=8, channels=(4, 4, 4), dropout=0.1),
            partial(ContentTower, dim=16, hidden_dim=32, part_dropout=0.1, id_dropout=0.1, dropout=0.1),
            partial(UserTower, dim=16, num_layers=1, num_heads=2, dropout=0.1),
        )
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=8, in_batch=True)
        module = TowersModule(
            two_tower=two_tower,
            table=build_content_table(world_store, two_tower.audio_encoder.dim),
            objective=Softmax(candidates, temperature=0.1, is_temperature_learned=True),
            optimizer=partial(torch.optim.AdamW, lr=0.01),
            warmup_steps=3,
            records=world_store.spectrograms.records,
            judge=judge,
            shown=("validation/ndcg@5",),
        )
        data = DataModule(
            store=world_store, candidates=candidates, has_sound=True, validation_users=judge_task.user_rows, seed=seed,
            max_length=20, max_tokens=200, repeat_weight=0.2, lookahead=1, num_fresh_sounds=4, crop_s=0.5,
            num_workers=0,
        )  # fmt: skip
        return module, data

    return make


@pytest.fixture
def make_small_trainer(tmp_path):
    from towers.training.loggers import CsvLogger
    from towers.training.trainer import make_trainer

    def make(max_epochs, folder=tmp_path):
        return make_trainer(
            folder,
            [CsvLogger(folder / "metrics.csv")],
            max_epochs=max_epochs,
            validate_every_epochs=1,
            monitor="validation/ndcg@5",
            gradient_clip=1.0,
            accelerator="cpu",
            precision="auto",
            progress=False,
        )

    return make
