"""A gradient into a step of the optimiser: groups of parameters, the norm, and what is done where it is not finite."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from towers.training.step import Learner

Optimizer = Callable[[list[dict]], torch.optim.Optimizer]
"""Groups of parameters to an optimiser."""


def parameter_groups(learner: Learner) -> list[dict]:
    """Weight decay for matrices of the network alone: not for embeddings, norms and biases."""
    decayed, plain = [], []
    for module in learner.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                is_matrix = isinstance(module, (nn.Linear, nn.Conv2d)) and name == "weight"
                (decayed if is_matrix else plain).append(parameter)
    return [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Float[Tensor, ""]:
    """Scales all gradients down to `max_norm`; returns the norm before, which is not finite where one of them is not."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)
    return norm


def advance(optimizer: torch.optim.Optimizer, is_finite: Bool[Tensor, ""]) -> None:
    """One step, unless the gradient is not finite: then no weight moves.

    On the CPU the flag is read. On a GPU that would make the host wait in every step, so optimisers that know mixed
    precision's `found_inf` (the fused ones) skip by themselves.
    """
    if is_finite.is_cuda and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]  # read by the fused step
        optimizer.step()
    elif bool(is_finite):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Reports:
    """Figures of each step, read without making the host wait for the step that has just been queued.

    On the CPU a step's figures are there at once; of a GPU's the ones of the step before are read.
    """

    def __init__(self) -> None:
        self._pending: tuple[object, Tensor, torch.cuda.Event] | None = None

    def add(self, label: object, figures: Float[Tensor, " figures"]) -> list[tuple[object, list[float]]]:
        """Takes a step's figures; gives those that can be read now."""
        if not figures.is_cuda:
            return [(label, figures.tolist())]
        ready = self.rest()
        host = torch.empty(figures.shape, dtype=figures.dtype, pin_memory=True)
        host.copy_(figures, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = label, host, event
        return ready

    def rest(self) -> list[tuple[object, list[float]]]:
        """Those not read yet; waits for them."""
        if self._pending is None:
            return []
        label, host, event = self._pending
        self._pending = None
        event.synchronize()
        return [(label, host.tolist())]
