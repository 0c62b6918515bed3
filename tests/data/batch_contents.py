"""Makes training batches, and reads their content in content rows."""

from dataclasses import fields

import numpy as np
import torch

from towers.data.batches import BatchPlan, Windows
from towers.data.datamodule import DataModule
from towers.data.loaders import Loaders
from towers.data.training_batches import Needs, Share, TrainingBatches
from towers.training.objectives.negatives import AllTrained


def plan_of(windows, seed=(0, 0, 0)):
    return BatchPlan(windows=windows, seed=seed, epoch=0, number=0, batches=1)


def whole_training(store):
    """Returns the windows that hold the whole training history of every listener."""
    histories = store.histories
    users = np.arange(histories.num_users)
    return Windows(user_rows=users, start=histories.offsets[:-1], end=histories.train_end)


def make_batches(store, candidates=None, **settings):
    settings, needs, share = parts_of(
        {"repeat_weight": 0.25, "num_fresh_sounds": 0, "crop_s": 0.2, "sounds": store.sounds, **settings}
    )
    return TrainingBatches(store, candidates or AllTrained(store.train_positives), settings, needs, share)


def parts_of(changed):
    """Returns small settings, needs and share, with changes by keyword."""
    keywords = {
        "max_length": 15, "max_tokens": 100, "repeat_weight": 0.2, "lookahead": 1, "num_fresh_sounds": 4, "crop_s": 0.5,
        "num_workers": 0, "num_rejections": 0, "has_times": False, "sounds": None, "share": Share(), **changed,
    }  # fmt: skip
    needs = Needs(**{each.name: keywords.pop(each.name) for each in fields(Needs) if each.name in keywords})
    share = keywords.pop("share")
    return DataModule(**keywords), needs, share


def rows_at(batch, index):
    """Returns the content rows at indices into the step's contents; -1 for none."""
    return torch.where(index < 0, -1, batch.content_rows[index]).tolist()


def windows_of(batch):
    """Returns each window of a batch, in content rows and without padding, however the batch is cut into parts."""
    found = []
    for part in batch.micro_batches:
        histories, targets = part.histories, part.targets
        tokens = histories.action.shape[1] + 1
        for window, length in enumerate(histories.lengths.tolist()):
            own = targets.window == window
            columns = (histories.action, histories.elapsed, histories.played, histories.context)
            found.append(
                (
                    histories.user_codes[window].tolist(),
                    rows_at(batch, histories.content_index[window, :length]),
                    [column[window, :length].tolist() for column in columns],
                    (targets.position[own] - window * tokens).tolist(),
                    targets.event[own].tolist(),
                    rows_at(batch, targets.index[own]),
                    targets.weight[own].tolist(),
                    rows_at(batch, targets.rejected[own]),
                )
            )
    return found


def shared(batch):
    """Returns the parts of a batch that are the same on all ranks."""
    return {
        "content_rows": batch.content_rows.tolist(),
        "candidate_log_q": batch.candidate_log_q.tolist(),
        "target_rows": batch.target_rows.tolist(),
        "total_weight": batch.total_weight.item(),
        "fresh_index": batch.fresh_index.tolist(),
        "place": (batch.epoch, batch.number, batch.batches),
    }


def everything(batch):
    return shared(batch), windows_of(batch), batch.fresh_spectrograms.tolist()


def loaders(store, candidates, validation_users=(), **settings):
    settings, needs, share = parts_of({"sounds": store.sounds, **settings})
    return Loaders(settings, store, candidates, needs, np.array(validation_users, int), seed=0, share=share)
