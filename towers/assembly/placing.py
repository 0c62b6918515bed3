"""Placement after training: sound and metadata are fitted to the vectors that training has given the contents."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from towers.assembly.network import build_content_table, heard_by
from towers.assembly.training import Parts, TrainingPlan
from towers.data.store import Store
from towers.training.checkpoints import load_weights, save_checkpoint, trained_checkpoint
from towers.training.run_folder import PLACED
from towers.training.step import Learner


def place(
    plan: TrainingPlan, parts: Parts, folder: Path, device: torch.device, passed: Callable[[int, int], None]
) -> dict[str, float]:
    """Fits the placement and writes the network with it beside the trained one.

    Args:
        plan: plan of the training.
        parts: trained parts.
        folder: folder of the run.
        device: device that it runs on.
        passed: called with how far it is, and of how much.

    Returns:
        Figures of the placed network; empty where nothing is placed.
    """
    trained = _with_all_rows(plan, parts)
    trained.load_state_dict(load_weights(trained_checkpoint(folder)))
    trained.to(device)  # Lightning has moved it away
    started = time.perf_counter(), time.process_time()
    placed, cosine = fitted(plan, parts, parts.store, passed, trained)
    if cosine is None:
        return {}
    seconds, core_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    save_checkpoint(folder / PLACED, {"signature": folder.name, "learner": placed.state_dict()})
    metrics = parts.module.placed_metrics(placed, parts.data.loaders.validation())
    print(f"placed by sound and metadata in {seconds:.0f} s: cosine {cosine:.3f} with the trained vectors")
    return {"cosine": cosine, "seconds": seconds, "core_seconds": core_seconds, **metrics}


def _with_all_rows(plan: TrainingPlan, parts: Parts) -> Learner:
    """Returns the trained learner, or a copy with whole tables where this process has only its part of them."""
    if all(division.ranks == 1 for division in parts.learner.divisions().values()):
        return parts.learner
    two_tower = plan.network.build(parts.store)
    table = build_content_table(parts.store, two_tower.audio_encoder.dim, parts.sounds, plan.network.rows_of())
    return Learner(two_tower, table, parts.learner.objective)


def fitted(
    plan: TrainingPlan,
    parts: Parts,
    store: Store,
    passed: Callable[[int, int], None],
    trained: Learner | None = None,
) -> tuple[Learner, float | None]:
    """Returns a network with contents placed anew, on the device of the trained one.

    Args:
        plan: plan of the training.
        parts: trained parts, with their final weights.
        store: store with the sounds to place by.
        passed: called with how far it is, and of how much.
        trained: trained learner with all rows; null: that of `parts`.

    Returns:
        The network, and the result of `Placement.fit`.
    """
    pl.seed_everything(plan.seed, verbose=False)
    two_tower = plan.network.build(store, is_placed=True)
    sounds = heard_by(two_tower.audio_encoder, store)
    trained = trained or parts.learner
    device, has_delta = trained.table.device, two_tower.content_tower.has_delta.numpy()
    table = build_content_table(store, two_tower.audio_encoder.dim, sounds, plan.network.rows_of())
    placed = Learner(two_tower, table, parts.learner.objective).to(device)
    cosine = plan.placement.fit(
        trained=trained,
        placed=placed,
        sounds=parts.sounds,
        placed_sounds=sounds,
        rows=torch.from_numpy(np.flatnonzero((store.train_targets > 0) & has_delta)).to(device),
        crop_frames=parts.crop_frames,
        seed=plan.seed,
        passed=passed,
    )
    return placed, cosine
