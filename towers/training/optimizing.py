"""A gradient into a step of the optimiser: groups of parameters, the norm, and what is done where it is not finite."""

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
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), fused, with a rate and a decay of their own for the ids.

    A row of the id table has unit length and meets a gradient in few steps, so it bears, and needs, larger steps than
    the matrices that every event meets.

    Decay is decoupled from the gradient and dense: in every step every row of the id table is multiplied by
    1 - rate x `id_weight_decay`, the rate being `id_lr` times the schedule's factor, whether the step holds the content
    or not. After n steps at the full rate, what no gradient has renewed is down to about exp(-n x `id_lr` x
    `id_weight_decay`). So the delta of a content that is seldom met shrinks towards zero, where the content is its
    sound and metadata, and that of a popular one, which is renewed all the time, stays.

    Where the id table is divided by rows among ranks (`rows=divided`), its rows are stepped, and decay, in the steps
    that meet them alone (`RowwiseAdamW`): a content that is seldom met stays where it is.

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
    divided = learner.divided_ids()
    if divided is not None:
        groups[-1:] = []  # they ask for no gradient of autograd's
        return RowwiseAdamW(groups, divided, lr, id_lr, id_weight_decay, betas)
    return torch.optim.AdamW(groups, lr=lr, weight_decay=0.0, betas=betas, fused=True)


class RowwiseAdamW(torch.optim.AdamW):
    """AdamW, of a table of ids that is divided among ranks by the rows that a step meets alone.

    The fused kernel that steps everything else steps these rows and their moments, gathered and put back; so does it
    pass by where the gradient is not finite, without a word to the host. What differs from dense AdamW is what happens
    to a row in steps that do not meet it, which is nothing: its moments do not fade, its last step is not repeated, and
    it does not decay. Steps are counted for the table and not for the row, as `torch.optim.SparseAdam` does, to whose
    numbers this comes without decay, but for where epsilon stands.

    Args:
        groups: of all other parameters, as `torch.optim.AdamW` takes them.
        table: of ids, in a group of its own, the last.
        lr: learning rate of the groups that name none.
        id_lr: of the table.
        id_weight_decay: of the rows of the table that a step meets.
        betas: decay of the means of the gradient and of its square.
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
        """Steps the dense parameters, then the rows of the table that were met."""
        loss = super().step(closure)
        self._step_rows(self._table)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradient of the table, too."""
        super().zero_grad(set_to_none)
        self._table.forget()

    def state_dict(self) -> dict[str, Any]:
        """Returns torch's state, in which moments of the divided table are spread over ranks as the table is."""
        return self._with_moments(super().state_dict(), Division.spread)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the state that any number of ranks has saved."""
        super().load_state_dict(self._with_moments(state_dict, Division.part))

    def _step_rows(self, table: DividedIds) -> None:
        state, group = self.state[table.weight], self.param_groups[-1]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=table.weight.device)
            for name in MOMENTS:
                state[name] = torch.zeros_like(table.weight)
        found_inf = getattr(self, "found_inf", None)
        met = table.gradient()
        if met is None or not len(met[0]):  # other ranks may have met some
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
        """Returns a state whose moments of the divided table are turned into parts, or into the whole."""
        found, place = dict(state["state"]), sum(len(group["params"]) for group in self.param_groups[:-1])
        if place in found:
            moments = {name: turned(self._table.division, found[place][name]) for name in MOMENTS}
            found[place] = {**found[place], **moments}
        return {**state, "state": found}


MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam keeps of every number: the means of the gradient and of its square."""


def clip_gradients(
    parameters: Iterable[nn.Parameter],
    max_norm: float,
    table: DividedIds | None = None,
    sum_: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Float[Tensor, ""]:
    """Scales gradients down to `max_norm`; returns the norm before, which is not finite where one of them is not.

    Args:
        parameters: with the same gradients on all ranks.
        max_norm: of all gradients together.
        table: of which each rank has rows of its own; null: there is none.
        sum_: over ranks, in place.
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
