"""Collective operations of the processes that share a step. Without a process group every call does nothing.

Gradients are summed, never averaged: a loss is a sum over the targets of all ranks, divided by their total weight, so a
step has the same result for any number of ranks.
"""

from collections.abc import Container, Iterable

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from towers.data.training_batches import Share


class Processes:
    """This process and the others of its training.

    Args:
        share: share of this process in every step.
    """

    def __init__(self, share: Share):
        self.share = share

    @property
    def is_first(self) -> bool:
        """True for the process that writes and prints."""
        return self.share.rank == 0

    def gathered(self, own: Float[Tensor, "own dim"], total: int) -> Float[Tensor, "total dim"]:
        """Returns the rows of all ranks, in the order of ranks, without a gradient.

        Args:
            own: rows of this rank, as many as `share.of(total)` says.
            total: number of rows of all ranks.
        """
        own = own.detach()
        if self.share.ranks == 1:
            return own
        size = -(-total // self.share.ranks)
        padded = torch.nn.functional.pad(own, (0, 0, 0, size - len(own))).contiguous()
        parts = [torch.empty_like(padded) for _ in range(self.share.ranks)]
        dist.all_gather(parts, padded)
        return torch.cat(parts)[:total]

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sums a tensor over ranks, in place, and returns it."""
        if self.share.ranks > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, tensor: Tensor) -> Tensor:
        """Replaces values by the largest over ranks, in place."""
        if self.share.ranks > 1:
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sums every parameter's gradient over ranks, with one message per dtype."""
        if self.share.ranks == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.requires_grad:
                if parameter.grad is None:  # unused by this rank, but maybe not by others
                    parameter.grad = torch.zeros_like(parameter)
                by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def same_everywhere(self, module: torch.nn.Module, but: Container[str] = ()) -> None:
        """Copies the first rank's parameters and buffers to all ranks, except those named in `but`."""
        if self.share.ranks > 1:
            for name, tensor in module.state_dict(keep_vars=True).items():
                if name not in but:
                    dist.broadcast(tensor.data, 0)

    def wait(self) -> None:
        """Waits for all ranks; returns at once where no process group exists."""
        if dist.is_initialized():
            self.all_of(None)

    def from_first(self, value: object) -> object:
        """Returns the first rank's value."""
        if self.share.ranks == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def all_of(self, value: object) -> list[object]:
        """Returns the values of all ranks, in the order of ranks."""
        if self.share.ranks == 1:
            return [value]
        values: list[object] = [None] * self.share.ranks
        dist.all_gather_object(values, value)
        return values


def leave() -> None:
    """Destroys the process group if there is one: gloo's threads must not outlive the interpreter (SIGABRT)."""
    if dist.is_initialized():  # Lightning does it for NCCL
        dist.destroy_process_group()
