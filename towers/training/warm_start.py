"""A training that begins with the weights of an earlier one: known rows of tables keep theirs, new ones begin at zero.

A content that is new has a delta of zero, so that it begins where its sound and metadata put it; a value that is new
to a vocabulary adds nothing until it is trained. What is gone is left behind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from towers.errors import UserError
from towers.models.rows import Division
from towers.training.checkpoints import HAS_DELTA
from towers.training.step import Learner

CONTENTS = "contents"
"""Names the rows of contents among the rows that tables may have; all others are names of vocabularies."""
TABLE = "table."
"""Begins the names of what is encoded anew: vectors of sounds."""
TOWER = "two_tower.content_tower."
DELTAS, IS_TRAINED = f"{TOWER}_id_delta.weight", HAS_DELTA

Rows = Mapping[str, Int[np.ndarray, " rows"]]
"""By what a table's rows stand for, the row that each of now had before; -1: it is new."""


def carried(
    before: Mapping[str, Tensor],
    fresh: Mapping[str, Tensor],
    tables: Mapping[str, str],
    rows: Rows,
    division: Division | None = None,
) -> dict[str, Tensor]:
    """The state of a learner that begins with another one's weights.

    Args:
        before: weights of the earlier learner, by name.
        fresh: those of the new one, as it was made.
        tables: names of tables whose rows belong to something -> what, as in `rows`.
        rows: which row each had before.
        division: of the new one's id table; null: it is whole, with a row for every content.

    Raises:
        UserError: the earlier network is another one.
    """
    before = {**before, **_trained_deltas(before)}
    unlike = [
        name
        for name, tensor in fresh.items()
        if name not in tables
        and not name.startswith((TABLE, IS_TRAINED))
        and (name not in before or before[name].shape != tensor.shape)
    ]
    unlike += [name for name in tables if name not in before or before[name].shape[1:] != fresh[name].shape[1:]]
    if unlike:
        raise UserError(
            f"warm_start.checkpoint: the earlier network is another one (it differs in {unlike[0]}"
            f"{f' and {len(unlike) - 1} others' if len(unlike) > 1 else ''}); train from nothing, with "
            "warm_start.checkpoint=null, or with the keys of the earlier run"
        )
    found = {}
    for name, tensor in fresh.items():
        if name in tables:
            found[name] = _taken(before[name], rows[tables[name]])
        elif name.startswith((TABLE, IS_TRAINED)):
            found[name] = tensor
        else:
            found[name] = before[name]
    if division is not None:
        found[DELTAS] = division.part(found[DELTAS][fresh[IS_TRAINED]])
    return found


def carried_optimizer(
    before: Mapping[str, Any], optimizer: torch.optim.Optimizer, learner: Learner, tables: Mapping[str, str], rows: Rows
) -> dict[str, Any]:
    """The state of an optimiser that goes on with another one's, for `load_state_dict`; rates are the new one's.

    Args:
        before: what the earlier optimiser's `state_dict` gave.
        optimizer: the new one, of the same class.
        learner: whose parameters it steps; its tables are whole.
        tables: as for `carried`, and so the next.
        rows: of these.

    Raises:
        UserError: the earlier one has other parameters.
    """
    now = optimizer.state_dict()
    sizes = [[len(group["params"]) for group in state["param_groups"]] for state in (before, now)]
    if sizes[0] != sizes[1]:
        raise UserError("warm_start.optimizer=carry: the earlier optimiser has other parameters; give reset")
    names = _names_in_order(optimizer, learner)
    state = {
        place: {
            key: _taken(value, rows[tables[names[place]]]) if names[place] in tables and value.dim() else value
            for key, value in moments.items()
        }
        for place, moments in before["state"].items()
    }
    return {**now, "state": state}


def tables_of(learner: Learner, user_columns: Sequence[str]) -> dict[str, str]:
    """Names of the learner's tables whose rows belong to contents or to the values of a vocabulary -> which.

    Args:
        learner: any.
        user_columns: names of listeners' features, in their order.
    """
    tower = learner.two_tower
    own = {f"{TOWER}{name}": of for name, of in tower.content_tower.row_tables().items()}
    users = {f"two_tower.user_tower.{name}": of for name, of in tower.user_tower.row_tables(user_columns).items()}
    return own | users


def _trained_deltas(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a delta for every content: zero where training has not met it, whether it was drawn or has no row."""
    if not {DELTAS, IS_TRAINED} <= weights.keys():
        return {}
    deltas, is_trained = weights[DELTAS], weights[IS_TRAINED]
    if len(deltas) == len(is_trained):
        return {DELTAS: deltas * is_trained[:, None]}
    found = deltas.new_zeros(len(is_trained), deltas.shape[1])
    found[is_trained] = deltas
    return {DELTAS: found}


def _taken(before: Tensor, rows: Int[np.ndarray, " rows"]) -> Tensor:
    """The rows in their new places, zeros where there was none."""
    places = torch.from_numpy(np.asarray(rows))
    found = before[places.clamp(min=0)]
    return found.masked_fill((places < 0).reshape(-1, *[1] * (found.dim() - 1)), 0)


def _names_in_order(optimizer: torch.optim.Optimizer, learner: nn.Module) -> list[str]:
    """Names of the optimiser's parameters, in the order of its state."""
    name_of = {id(parameter): name for name, parameter in learner.named_parameters()}
    return [name_of[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
