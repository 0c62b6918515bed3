"""A gradient into a step of the optimiser: groups of parameters, the norm, and what is done where it is not finite."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from towers.training.step import Learner

Label = TypeVar("Label")


def adamw(
    learner: Learner,
    lr: float,
    id_lr: float,
    weight_decay: float,
    id_weight_decay: float,
    betas: tuple[float, float],
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), fused, with a rate and a decay of their own for the ids.

    A row of the id table has unit length and meets a gradient in few steps, so it bears, and needs, larger steps than
    the matrices that every event meets.

    Decay is decoupled from the gradient and dense: in every step every row of the id table is multiplied by
    1 - rate x `id_weight_decay`, the rate being `id_lr` times the schedule's factor, whether the step holds the content
    or not. After n steps at the full rate, what no gradient has renewed is down to about exp(-n x `id_lr` x
    `id_weight_decay`). So the delta of a content that is seldom met shrinks towards zero, where the content is its
    sound and metadata, and that of a popular one, which is renewed all the time, stays.

    Args:
        learner: what is trained.
        lr: learning rate, before the schedule.
        id_lr: of the content tower's id table.
        weight_decay: of matrices of the network alone: not of embeddings, norms and biases.
        id_weight_decay: of the content tower's id table; 0: none.
        betas: decay of the means of the gradient and of its square.

    Raises:
        ValueError: a rate or a decay below 0.
    """
    for name, value in (("id_lr", id_lr), ("weight_decay", weight_decay), ("id_weight_decay", id_weight_decay)):
        if not value >= 0:
            raise ValueError(f"{name}={value} must be 0 or more")
    ids = {id(parameter) for parameter in learner.two_tower.content_tower.id_parameters()}
    tables, decayed, plain = [], [], []
    for module in learner.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if id(parameter) in ids:
                tables.append(parameter)
            elif isinstance(module, (nn.Linear, nn.Conv2d)) and name == "weight":
                decayed.append(parameter)
            else:
                plain.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain},
        {"params": tables, "lr": id_lr, "weight_decay": id_weight_decay},
    ]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=0.0, betas=betas, fused=True)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Float[Tensor, ""]:
    """Scales gradients down to `max_norm`; returns the norm before, which is not finite where one of them is not."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def advance(optimizer: torch.optim.Optimizer, is_finite: Bool[Tensor, ""], step: Callable[[], object]) -> None:
    """One step, unless the gradient is not finite: then no weight moves.

    On the CPU the flag is read. On a GPU that would make the host wait in every step, so optimisers that know mixed
    precision's `found_inf` (the fused ones) skip by themselves.

    Args:
        optimizer: torch's own.
        is_finite: whether the gradient is.
        step: takes its step; Lightning wraps it.
    """
    if is_finite.is_cuda and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]  # read by the fused step
        step()
    elif bool(is_finite):
        step()
    optimizer.zero_grad(set_to_none=True)


class Reports(Generic[Label]):
    """Figures of each step, read without making the host wait for the step that has just been queued.

    On the CPU a step's figures are there at once; of a GPU's the ones of the step before are read.
    """

    def __init__(self) -> None:
        self._pending: tuple[Label, Tensor, torch.cuda.Event] | None = None

    def add(self, label: Label, figures: Float[Tensor, " figures"]) -> list[tuple[Label, list[float]]]:
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

    def rest(self) -> list[tuple[Label, list[float]]]:
        """Those not read yet; waits for them."""
        if self._pending is None:
            return []
        label, host, event = self._pending
        self._pending = None
        event.synchronize()
        return [(label, host.tolist())]
