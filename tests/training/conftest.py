"""A run on the tiny world that takes seconds."""

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="session")
def judge_task(world_store):
    from towers.evaluation.from_store import task_from_store

    return task_from_store(world_store, "validation")


@pytest.fixture(scope="session")
def make_learner(world_store):
    """A fresh network on the tiny world, fixed by the seed."""
    from pytorch_lightning import seed_everything

    from towers.assembly.network import build_content_table, build_two_tower, heard_by
    from towers.models.audio.encoder import ConvAudioEncoder
    from towers.models.content_tower import ContentTower
    from towers.models.rows import WHOLE
    from towers.models.user_tower import UserTower
    from towers.training.objectives.negatives import InBatchAndUniform
    from towers.training.objectives.softmax import RefinedLogQSoftmax
    from towers.training.step import Learner

    def make(seed=0, dropout=0.1, objective=None, audio_encoder=None, content_tower=ContentTower, user_tower=UserTower,
             rows=WHOLE, id_min_events=1):  # fmt: skip
        seed_everything(seed, verbose=False)
        two_tower = build_two_tower(
            world_store,
            audio_encoder or partial(ConvAudioEncoder, dim=8, channels=(4, 4, 4), dropout=dropout),
            partial(content_tower, dim=16, hidden_dim=32, part_dropout=dropout, id_dropout=dropout, dropout=dropout,
                    id_min_events=id_min_events),
            partial(user_tower, dim=16, num_layers=1, num_heads=2, dropout=dropout),
            rows,
        )  # fmt: skip
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=8, in_batch=True)
        objective = objective or RefinedLogQSoftmax(candidates, temperature=0.1, is_temperature_learned=True)
        sounds = heard_by(two_tower.audio_encoder, world_store)
        return Learner(
            two_tower, build_content_table(world_store, two_tower.audio_encoder.dim, sounds, rows), objective
        )

    return make


@pytest.fixture(scope="session")
def make_objective(world_store):
    """An objective by its file, on the tiny world."""
    from omegaconf import OmegaConf

    from towers.config.instantiate import complete, instantiate
    from towers.config.keys import CONFIG_DIR

    def make(name, **keywords):
        config = OmegaConf.load(f"{CONFIG_DIR}/objective/{name}.yaml")
        positives = world_store.train_positives
        candidates = complete(config.candidates, "objective.candidates", train_positives=positives)
        return instantiate({**OmegaConf.to_container(config), **keywords}, "objective", candidates=candidates)

    return make


@pytest.fixture(scope="session")
def make_data(world_store, judge_task):
    """Batches for a learner on the tiny world."""
    from towers.data.datamodule import DataModule
    from towers.data.loaders import Loaders
    from towers.data.training_batches import Needs, Share

    def make(objective, seed=0, share=None, sounds=None, tables=None, **settings):
        keywords = {
            "max_length": 20, "max_tokens": 200, "repeat_weight": 0.2, "lookahead": 1, "num_fresh_sounds": 4,
            "crop_s": 0.5, "num_workers": 0, **settings,
        }  # fmt: skip
        needs = Needs(
            num_rejections=objective.num_rejections, has_times=objective.mask_unavailable,
            sounds=sounds or world_store.sounds, tables=tables,
        )  # fmt: skip
        return Loaders(
            settings=DataModule(**keywords), store=world_store, candidates=objective.candidates, needs=needs,
            validation_users=judge_task.user_rows, seed=seed, share=share or Share(),
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def make_run(world_store, judge_task, make_learner, make_data):
    """A run that has not begun, everything fixed by the seed; its settings are those of `trainer`."""
    from towers.data.training_batches import Share
    from towers.evaluation.harness import evaluate
    from towers.evaluation.ranking.vectors import VectorRanker
    from towers.models.rows import WHOLE
    from towers.training.data_module import TowersDataModule
    from towers.training.loggers import CsvLogger
    from towers.training.module import TowersModule
    from towers.training.optimizing import adamw
    from towers.training.processes import Processes
    from towers.training.schedule import Cosine
    from towers.training.stopping import StopRequest
    from towers.training.trainer import Trainer
    from towers.training.validation import Validation

    def judge(users, contents):
        ranker = VectorRanker(judge_task, "towers", users, contents)
        return evaluate(judge_task, ranker, filter_seen=False, ks=(5,), min_users=1).means()

    def make(folder, seed=0, signature="tiny", batches=None, objective=None, judge=judge, num_workers=0, rows=WHOLE,
             **changed):  # fmt: skip
        settings = Trainer(**{**SETTINGS, **changed})
        stop = StopRequest()
        trainer = settings.lightning(folder, signature, stop, (settings.monitor,), is_judged=judge is not None)
        if not settings.is_trial:
            trainer.loggers = [CsvLogger(folder / "metrics.csv")]
        learner = make_learner(seed, objective=objective, rows=rows)
        data = make_data(learner.objective, seed, max_tokens=50, num_workers=num_workers, tables=learner.tables())
        if batches is not None:
            data.training = batches(data.training)
        module = TowersModule(
            learner=learner,
            optimizer=partial(adamw, lr=0.01, id_lr=0.02, weight_decay=0.01, id_weight_decay=0.0, betas=(0.9, 0.98)),
            schedule=Cosine(warmup_share=1.0, max_warmup_steps=3, final=0.0),
            validation=Validation(len(judge_task.user_rows), judge, world_store.spectrograms.records),
            processes=Processes(Share()),
            autocast=settings.autocast,
            monitor=settings.monitor,
            gradient_clip=settings.gradient_clip,
            max_skipped=settings.max_skipped,
            refresh_sounds_every_steps=settings.refresh_sounds_every_steps,
            seed=seed,
        )
        return TinyRun(
            folder=folder, trainer=trainer, module=module, stop=stop,
            data=TowersDataModule(data, Share(), judge is not None, settings.limit_train_batches),
        )  # fmt: skip

    return make


SETTINGS = {
    "max_epochs": 2, "validate_every_epochs": 1, "refresh_sounds_every_steps": None, "monitor": "validation/ndcg@5",
    "patience": None, "gradient_clip": 1.0, "max_skipped": 0, "checkpoint_every_s": 1e9, "accelerator": "cpu",
    "devices": 1, "num_nodes": 1, "micro_batches": 1, "precision": "float32", "progress": False, "callbacks": [],
    "max_time": None, "limit_train_batches": None, "fast_dev_run": False, "profiler": None, "detect_anomaly": False,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TinyRun:
    """A training on the tiny world, as the command has it."""

    folder: Path
    trainer: Any
    module: Any
    data: Any
    stop: Any

    def train(self):
        """Trains to the end, from the last checkpoint if there is one, and returns the progress."""
        from towers.training.trainer import fit

        fit(self.trainer, self.module, self.data, self.stop)
        return self.module.progress

    @property
    def learner(self):
        return self.module.learner

    def tensors(self):
        """Returns all trained and remembered tensors, by name."""
        return {name: tensor.clone() for name, tensor in self.learner.state_dict().items()}

    def rows(self):
        """Returns the curve, without the columns that differ in every run."""
        with (self.folder / "metrics.csv").open(newline="") as file:
            found = list(csv.DictReader(file))
        return [{name: row[name] for name in row if name not in ("seconds", "core_seconds")} for row in found]


@pytest.fixture(scope="session")
def trained(make_run, make_data, tmp_path_factory):
    """A run of two epochs that was never stopped."""
    run = make_run(tmp_path_factory.mktemp("trained"))
    data = make_data(run.learner.objective)
    before = mean_loss(run.learner, data)
    progress = run.train()
    return SimpleNamespace(
        run=run, learner=run.learner, folder=run.folder, progress=progress, steps=progress.step, before=before,
        after=mean_loss(run.learner, data), tensors=run.tensors(), rows=run.rows(),
    )  # fmt: skip


def mean_loss(learner, data):
    """Returns the mean loss over the batches of one epoch, without dropout."""
    import torch

    learner.eval()
    losses = []
    with torch.no_grad():
        for batch in data.training(1):
            vectors = learner.two_tower.encode_contents(learner.table.batch(batch.content_rows))
            (micro,) = batch.micro_batches
            states = learner.two_tower.encode_states(micro.histories, vectors, micro.targets.position)
            loss = learner.objective(states, vectors, batch.candidate_log_q, micro) / batch.total_weight
            losses.append(loss.item())
    learner.train()
    return sum(losses) / len(losses)


def assert_same_run(run, whole):
    """Checks that every trained bit and the curve are the same."""
    import torch

    found = run.tensors()
    assert found.keys() == whole.tensors.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, whole.tensors[name]), name
    assert run.rows() == whole.rows
