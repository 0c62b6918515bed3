"""A run on the tiny world, small enough for seconds."""

import contextlib
from functools import partial

import pytest


@pytest.fixture(scope="session")
def judge_task(world_store):
    from towers.evaluation.from_store import task_from_store

    return task_from_store(world_store, "validation")


@pytest.fixture(scope="session")
def make_learner(world_store):
    """A fresh network on the tiny world, fixed by the seed."""
    from lightning_fabric import seed_everything

    from towers.assembly import build_content_table, build_two_tower, heard_by
    from towers.models.audio_encoder import ConvAudioEncoder
    from towers.models.content_tower import ContentTower
    from towers.models.user_tower import UserTower
    from towers.training.negatives import InBatchAndUniform
    from towers.training.softmax import RefinedLogQSoftmax
    from towers.training.step import Learner

    def make(seed=0, dropout=0.1, objective=None, audio_encoder=None):
        seed_everything(seed, verbose=False)
        two_tower = build_two_tower(
            world_store,
            audio_encoder or partial(ConvAudioEncoder, dim=8, channels=(4, 4, 4), dropout=dropout),
            partial(ContentTower, dim=16, hidden_dim=32, part_dropout=dropout, id_dropout=dropout, dropout=dropout),
            partial(UserTower, dim=16, num_layers=1, num_heads=2, dropout=dropout),
        )
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=8, in_batch=True)
        objective = objective or RefinedLogQSoftmax(candidates, temperature=0.1, is_temperature_learned=True)
        sounds = heard_by(two_tower.audio_encoder, world_store)
        return Learner(two_tower, build_content_table(world_store, two_tower.audio_encoder.dim, sounds), objective)

    return make


@pytest.fixture(scope="session")
def make_data(world_store, judge_task):
    """Batches for a learner on the tiny world."""
    from towers.data.datamodule import DataModule
    from towers.data.training_batches import Share

    def make(objective, seed=0, max_epochs=2, share=None, **settings):
        keywords = {
            "max_length": 20, "max_tokens": 200, "repeat_weight": 0.2, "lookahead": 1, "num_fresh_sounds": 4,
            "crop_s": 0.5, "num_workers": 0, **settings,
        }  # fmt: skip
        return DataModule(
            store=world_store, candidates=objective.candidates, has_sound=True,
            num_rejections=objective.num_rejections, has_times=objective.mask_unavailable,
            validation_users=judge_task.user_rows, seed=seed, max_epochs=max_epochs, share=share or Share(), **keywords,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def make_loop(world_store, judge_task, make_learner, make_data):
    """A run that has not begun, everything fixed by the seed."""
    from towers.evaluation.harness import evaluate
    from towers.evaluation.vectors import VectorRanker
    from towers.training.loggers import CsvLogger
    from towers.training.loop import Loop, LoopSettings
    from towers.training.optimizing import adamw
    from towers.training.ranks import Ranks
    from towers.training.schedule import Cosine
    from towers.training.validation import Validation
    from towers.training.watching import Silence

    def judge(users, contents):
        ranker = VectorRanker(judge_task, "towers", users, contents)
        return evaluate(judge_task, ranker, filter_seen=False, ks=(5,), min_users=1).means()

    def make(folder, seed=0, signature="tiny", share=None, batches=None, objective=None, judge=judge, **settings):
        learner = make_learner(seed, objective=objective)
        keywords = {
            "max_epochs": 2, "validate_every_epochs": 1, "monitor": "validation/ndcg@5", "patience": None,
            "refresh_sounds_every_steps": None,
            "gradient_clip": 1.0, "max_skipped": 0, "checkpoint_every_s": 1e9, "seed": seed, **settings,
        }  # fmt: skip
        ranks = Ranks(share) if share else Ranks(make_share())
        data = make_data(learner.objective, seed, keywords["max_epochs"], ranks.share, max_tokens=50)
        loop = Loop(
            learner=learner,
            optimizer=adamw(learner, lr=0.01, id_lr=0.02, weight_decay=0.01, id_weight_decay=0.0, betas=(0.9, 0.98)),
            schedule=Cosine(warmup_steps=3, final=0.0),
            batches=(batches or (lambda batches: batches))(data.training),
            validation=Validation(data.validation(), judge, world_store.spectrograms.records),
            ranks=ranks,
            precision=contextlib.nullcontext(),
            settings=LoopSettings(**keywords),
            folder=folder,
            signature=signature,
            watch=Silence(),
        )
        if ranks.is_first:
            loop.loggers = [CsvLogger(folder / "metrics.csv")]
        return loop

    return make


def make_share():
    from towers.data.training_batches import Share

    return Share()
