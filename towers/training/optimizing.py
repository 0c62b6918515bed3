"""The optimiser's step: groups of parameters, the gradient's norm, and skipping where it is not finite."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim.adamw import adamw as functional_adamw

from towers.models.rows import DividedIds, Division
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
    """Makes AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), fused, with a rate and a decay of its own for ids.

    A row of the id table has unit length and gets a gradient in few steps, so it needs larger steps than the matrices,
    which get one in every step.

    Decay is decoupled from the gradient and dense: in every step every row of the id table is multiplied by
    1 - rate x `id_weight_decay`, the rate being `id_lr` times the schedule's factor, whether the step holds the content
    or not. After n steps at the full rate, a row without gradients has shrunk to about exp(-n x `id_lr` x
    `id_weight_decay`). So the delta of a rare content shrinks towards zero, and the content towards its sound and
    metadata, while that of a popular one is renewed all the time and stays.

    Where the id table is divided by rows among ranks (`rows=divided`), a row is stepped, and decays, only in steps that
    hold its content (`RowwiseAdamW`): a rare content stays where it is.

    Args:
        learner: learner whose parameters are optimised.
        lr: learning rate, before the schedule.
        id_lr: learning rate of the content tower's id table.
        weight_decay: decay of the network's matrices; embeddings, norms and biases have none.
        id_weight_decay: decay of the content tower's id table; 0: none.
        betas: decay of the moving means of the gradient and of its square.

    Raises:
        ValueError: a rate or decay is below 0.
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
    divided = learner.divided_ids()
    if divided is not None:
        groups[-1:] = []  # divided ids have no autograd gradient
        return RowwiseAdamW(groups, divided, lr, id_lr, id_weight_decay, betas)
    return torch.optim.AdamW(groups, lr=lr, weight_decay=0.0, betas=betas, fused=True)


class RowwiseAdamW(torch.optim.AdamW):
    """AdamW with a table of ids that is divided among ranks, of which a step changes only the rows that it holds.

    The fused kernel that steps all else also steps these rows and their moments, gathered and written back; it also
    skips a gradient that is not finite without waiting for the host. It differs from dense AdamW in that a step leaves
    all other rows as they are: their moments do not fade, their last step is not repeated, and they do not decay. Steps
    are counted for the table, not for each row, as `torch.optim.SparseAdam` does; without decay the numbers are the
    same as there except for the place of epsilon.

    Args:
        groups: groups of all other parameters, as for `torch.optim.AdamW`.
        table: table of ids; becomes the last group.
        lr: learning rate of groups without one.
        id_lr: learning rate of the table.
        id_weight_decay: decay of the rows of the table that a step holds.
        betas: decay of the moving means of the gradient and of its square.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        table: DividedIds,
        lr: float,
        id_lr: float,
        id_weight_decay: float,
        betas: tuple[float, float],
    ):
        super().__init__(groups, lr=lr, weight_decay=0.0, betas=betas, fused=True)
        self._table = table
        self.add_param_group({"params": [table.weight], "lr": id_lr, "weight_decay": id_weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Steps the dense parameters, then the rows of the table that the step holds."""
        loss = super().step(closure)
        self._step_rows(self._table)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears all gradients, the table's included."""
        super().zero_grad(set_to_none)
        self._table.forget()

    def state_dict(self) -> dict[str, Any]:
        """Returns torch's state, with the moments of the divided table spread over ranks like the table."""
        return self._with_moments(super().state_dict(), Division.spread)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a state saved by any number of ranks."""
        super().load_state_dict(self._with_moments(state_dict, Division.part))

    def _step_rows(self, table: DividedIds) -> None:
        state, group = self.state[table.weight], self.param_groups[-1]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=table.weight.device)
            for name in MOMENTS:
                state[name] = torch.zeros_like(table.weight)
        found_inf = getattr(self, "found_inf", None)
        met = table.gradient()
        if met is None or not len(met[0]):  # other ranks may have rows of the step
            state["step"] += 1 if found_inf is None else 1 - found_inf
            return
        rows, gradient = met
        tensors = (table.weight, *(state[name] for name in MOMENTS))
        weight, mean, square = (tensor.index_select(0, rows) for tensor in tensors)
        beta1, beta2 = group["betas"]
        functional_adamw(
            [weight], [gradient], [mean], [square], [], [state["step"]], fused=True, found_inf=found_inf,
            amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=group["weight_decay"],
            eps=group["eps"], maximize=False,
        )  # fmt: skip
        for tensor, stepped in zip(tensors, (weight, mean, square), strict=True):
            tensor.index_copy_(0, rows, stepped)

    def _with_moments(self, state: dict[str, Any], turned: Callable[[Division, Tensor], Tensor]) -> dict[str, Any]:
        """Returns a state with the moments of the divided table as this rank's part, or as a part of the whole."""
        found, place = dict(state["state"]), sum(len(group["params"]) for group in self.param_groups[:-1])
        if place in found:
            moments = {name: turned(self._table.division, found[place][name]) for name in MOMENTS}
            found[place] = {**found[place], **moments}
        return {**state, "state": found}


MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's state of every number: the moving means of the gradient and of its square."""


def clip_gradients(
    parameters: Iterable[nn.Parameter],
    max_norm: float,
    table: DividedIds | None = None,
    sum_: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Float[Tensor, ""]:
    """Scales gradients down to `max_norm`; returns the norm before, which is not finite where a gradient is not.

    Args:
        parameters: parameters with the same gradients on all ranks.
        max_norm: maximum norm of all gradients together.
        table: table of which each rank has its own rows; null: none.
        sum_: sums a tensor over ranks, in place.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if table is not None:
        met = table.gradient()
        squares = torch.zeros_like(norm) if met is None else met[1].square().sum()
        norm = (norm.square() + sum_(squares)).sqrt()
        gradients += [] if met is None else [met[1]]
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def advance(optimizer: torch.optim.Optimizer, is_finite: Bool[Tensor, ""], step: Callable[[], object]) -> None:
    """Takes one step, or none where the gradient is not finite; clears the gradients.

    On the CPU the flag is read. On a GPU that would make the host wait in every step, so optimisers that support mixed
    precision's `found_inf` (the fused ones) skip the step themselves.

    Args:
        optimizer: torch's optimiser, not Lightning's wrapper.
        is_finite: whether the gradient is finite.
        step: takes the optimiser's step, possibly wrapped by Lightning.
    """
    if is_finite.is_cuda and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]  # read by the fused step
        step()
    elif bool(is_finite):
        step()
    optimizer.zero_grad(set_to_none=True)


class Reports(Generic[Label]):
    """Figures of steps, read without making the host wait for the step that was queued last.

    On the CPU a step's figures are read at once; on a GPU, those of the step before.
    """

    def __init__(self) -> None:
        self._pending: tuple[Label, Tensor, torch.cuda.Event] | None = None

    def add(self, label: Label, figures: Float[Tensor, " figures"]) -> list[tuple[Label, list[float]]]:
        """Takes a step's figures; returns those that can be read now."""
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
        """Returns the figures not read yet; waits for them."""
        if self._pending is None:
            return []
        label, host, event = self._pending
        self._pending = None
        event.synchronize()
        return [(label, host.tolist())]
