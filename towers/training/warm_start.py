"""Warm start: a training that begins with an earlier one's weights; known rows of tables are kept, new ones are zero.

A new content has a delta of zero, so that it begins where its sound and metadata place it; a value that is new to a
vocabulary adds nothing until it is trained. Rows of contents and values that no longer exist are dropped.
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
"""Key of the content rows in `Rows`; all other keys are names of vocabularies."""
TABLE = "table."
"""Prefix of names of the table of audio vectors, which are encoded anew."""
TOWER = "two_tower.content_tower."
DELTAS, IS_TRAINED = f"{TOWER}_id_delta.weight", HAS_DELTA

Rows = Mapping[str, Int[np.ndarray, " rows"]]
"""Earlier row of each current row, by the kind of rows; -1: the row is new."""


def carried(
    before: Mapping[str, Tensor],
    fresh: Mapping[str, Tensor],
    tables: Mapping[str, str],
    rows: Rows,
    division: Division | None = None,
) -> dict[str, Tensor]:
    """Returns the state of a learner that begins with another one's weights.

    Args:
        before: weights of the earlier learner, by name.
        fresh: weights of the new, untrained learner, by name.
        tables: kind of rows, a key of `rows`, for each table with rows of contents or of values.
        rows: earlier row of each current row.
        division: division of the new id table; null: it is undivided, with a row for every content.

    Raises:
        UserError: the earlier network differs.
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
            f"{f' and {len(unlike) - 1} others' if len(unlike) > 1 else ''}); train from scratch, with "
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
    """Returns an optimiser state that continues another one's, for `load_state_dict`; rates are the new one's.

    Args:
        before: `state_dict` of the earlier optimiser.
        optimizer: new optimiser, of the same class.
        learner: learner whose parameters it steps; its tables are undivided.
        tables: see `carried`.
        rows: see `carried`.

    Raises:
        UserError: the earlier optimiser has other parameters.
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
    """Returns the kind of rows, contents or a vocabulary, of each of the learner's tables that has such rows.

    Args:
        learner: any learner.
        user_columns: names of listeners' features, in their order.
    """
    tower = learner.two_tower
    own = {f"{TOWER}{name}": of for name, of in tower.content_tower.row_tables().items()}
    users = {f"two_tower.user_tower.{name}": of for name, of in tower.user_tower.row_tables(user_columns).items()}
    return own | users


def _trained_deltas(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a delta for every content: zero where training has not trained it."""
    if not {DELTAS, IS_TRAINED} <= weights.keys():
        return {}
    deltas, is_trained = weights[DELTAS], weights[IS_TRAINED]
    if len(deltas) == len(is_trained):
        return {DELTAS: deltas * is_trained[:, None]}
    found = deltas.new_zeros(len(is_trained), deltas.shape[1])
    found[is_trained] = deltas
    return {DELTAS: found}


def _taken(before: Tensor, rows: Int[np.ndarray, " rows"]) -> Tensor:
    """Returns the rows in their new places, zeros for new rows."""
    places = torch.from_numpy(np.asarray(rows))
    found = before[places.clamp(min=0)]
    return found.masked_fill((places < 0).reshape(-1, *[1] * (found.dim() - 1)), 0)


def _names_in_order(optimizer: torch.optim.Optimizer, learner: nn.Module) -> list[str]:
    """Returns the names of the optimiser's parameters, in the order of its state."""
    name_of = {id(parameter): name for name, parameter in learner.named_parameters()}
    return [name_of[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
