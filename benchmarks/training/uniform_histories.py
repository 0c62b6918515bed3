"""Histories of contents drawn uniformly, as a step of the training reads them."""

import numpy as np
import torch

from towers.batch import HistoryBatch, MicroBatch, Packing, Targets
from towers.data.training_batches import StepContents


def micro_batch_of(heard: np.ndarray, step_contents: StepContents) -> MicroBatch:
    """Makes a batch in which every event is a target.

    Args:
        heard: `[windows, length]`, content rows.
        step_contents: the contents of the step, these among them.
    """
    window, event = (torch.from_numpy(place.reshape(-1)) for place in np.indices(heard.shape))
    padding_mask = torch.zeros(heard.shape, dtype=torch.bool)
    codes = torch.ones(heard.shape, dtype=torch.int64)
    histories = HistoryBatch(
        content_index=torch.from_numpy(step_contents.index(heard)), action=codes, elapsed=codes, played=codes,
        context=codes, padding_mask=padding_mask, user_codes=torch.zeros((len(heard), 0), dtype=torch.int64),
        packing=Packing.of(padding_mask),
    )  # fmt: skip
    targets = Targets(
        position=window * (heard.shape[1] + 1) + event, index=histories.content_index.flatten(),
        weight=torch.ones(heard.size), event=event, window=window,
        time_s=torch.zeros(heard.size, dtype=torch.int32), rejected=torch.zeros((heard.size, 0), dtype=torch.int64),
    )  # fmt: skip
    return MicroBatch(histories=histories, targets=targets)
