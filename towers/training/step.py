"""The gradient of one step, for any number of ranks and micro-batches.

A target's loss depends on its own state and on the vectors of the step's contents. So the contents are encoded once,
each rank its share of them, and their vectors are gathered; each micro-batch adds its gradient to the vectors and to
the user tower; at the end the gradient of the vectors, summed over ranks, goes back through the content tower. This is
gradient caching (Gao et al. 2021, arXiv 2101.06983) for the side that all targets share; the other side needs none.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.batch import Routes, TrainingBatch
from towers.data.training_batches import Tables
from towers.models.rows import DividedIds, Division
from towers.models.two_tower import TwoTower
from towers.training.content_table import ContentTable
from towers.training.objectives.objective import Objective
from towers.training.processes import Processes


class Learner(nn.Module):
    """The trained modules: the network, the table of sounds beside it, and the objective with its parameters.

    Args:
        two_tower: network.
        table: data and audio vectors of the contents.
        objective: loss.
    """

    def __init__(self, two_tower: TwoTower, table: ContentTable, objective: Objective):
        super().__init__()
        self.two_tower = two_tower
        self.table = table
        self.objective = objective

    def divided_ids(self) -> DividedIds | None:
        """Returns the table of ids where it is divided by rows among ranks and keeps its own gradient; null: whole."""
        return self.two_tower.content_tower.divided_ids

    def tables(self) -> Tables | None:
        """Returns what a loader needs to know of divided tables; null: they are undivided."""
        ids, sounds = self.divided_ids(), self.table.division
        if ids is None or sounds is None:
            return None
        return Tables(
            id_rows=ids.row_of.cpu().numpy(), num_ids=ids.division.num_rows,
            sound_rows=self.table.audio_rows.cpu().numpy(), num_sounds=sounds.num_rows,
        )  # fmt: skip

    def divisions(self) -> dict[str, Division]:
        """Returns how parameters and buffers are divided among ranks, by their names; empty where none is."""
        ids, sounds = self.divided_ids(), self.table.division
        found = {
            "two_tower.content_tower._id_delta.weight": None if ids is None else ids.division,
            "table._audio_vectors": sounds,
        }
        return {name: division for name, division in found.items() if division is not None}


@dataclass(frozen=True, slots=True)
class FreshSounds:
    """Audio vectors encoded in a step, for the table once the step's gradient is known to be finite.

    Args:
        content_rows: rows of their contents.
        vectors: vectors as encoded.
        routes: routes of the step, where tables are divided.
    """

    content_rows: Int[Tensor, " fresh"]
    vectors: Float[Tensor, "fresh audio_dim"]
    routes: Routes | None


class _Shared:
    """Vectors of which each rank computes a share, and which all ranks use."""

    def __init__(self, own: Float[Tensor, "own dim"], total: int, processes: Processes):
        self._own = own
        self._total = total
        self._processes = processes
        self.vectors = processes.gathered(own, total).requires_grad_()

    def backward(self) -> None:
        """Propagates the gradient of `vectors` back through this rank's share."""
        gradient = self.vectors.grad
        if gradient is None:
            gradient = torch.zeros_like(self.vectors)
        gradient = self._processes.sum_(gradient)[self._processes.share.of(self._total)]
        if self._own.requires_grad:  # even for an empty share, since other ranks may wait for its messages
            self._own.backward(gradient)


def accumulate_gradient(
    learner: Learner, batch: TrainingBatch, processes: Processes, precision: AbstractContextManager
) -> tuple[Float[Tensor, ""], FreshSounds | None]:
    """Adds the gradient of the batch's mean loss to the learner's parameters, the same on all ranks.

    Args:
        learner: learner to train.
        batch: this rank's share of the step.
        processes: processes that share the step.
        precision: reusable autocast context, or a null context.

    Returns:
        The weighted mean loss over the targets of all ranks, and the sounds encoded in the step.
    """
    two_tower, table = learner.two_tower, learner.table
    share = processes.share.of(len(batch.content_rows))
    fresh = None
    with precision:
        contents = table.batch(batch.content_rows, batch.routes)
        if len(batch.fresh_index):
            own = two_tower.audio_encoder(batch.fresh_spectrograms).float()
            fresh = _Shared(own, len(batch.fresh_index), processes)
            contents = contents.with_audio(batch.fresh_index, fresh.vectors)
        own = two_tower.encode_contents(contents if processes.share.ranks == 1 else contents.part(share))
    shared = _Shared(own.float(), len(batch.content_rows), processes)
    log_q = learner.objective.observe(batch)
    loss = torch.zeros((), device=shared.vectors.device)
    for micro_batch in batch.micro_batches:
        with precision:
            states = two_tower.encode_states(micro_batch.histories, shared.vectors, micro_batch.targets.position)
            part = learner.objective(states, shared.vectors, log_q, micro_batch) / batch.total_weight
        part.backward()
        loss += part.detach()
    shared.backward()
    if fresh is None:
        return processes.sum_(loss), None
    fresh.backward()
    rows = batch.content_rows[batch.fresh_index]
    return processes.sum_(loss), FreshSounds(rows, fresh.vectors.detach(), batch.routes)
