"""A training that begins with an earlier one's weights: known rows keep theirs, new ones begin at zero."""

import numpy as np
import pytest
import torch

from towers.errors import UserError
from towers.models.rows import Divided, Whole
from towers.training.optimizing import adamw
from towers.training.warm_start import CONTENTS, carried, carried_optimizer, tables_of

DELTA, IS_TRAINED = "two_tower.content_tower._id_delta.weight", "two_tower.content_tower._is_trained"
ADAMW = {"lr": 0.01, "id_lr": 0.01, "weight_decay": 0.0, "id_weight_decay": 0.0, "betas": (0.9, 0.99)}


@pytest.fixture
def learner(make_learner):
    return make_learner(dropout=0.0)


@pytest.fixture
def tables(learner, world_store):
    return tables_of(learner, world_store.features.user_columns)


def same_rows(learner, tables):
    """Returns the row map of every table in which all rows stay."""
    state = learner.state_dict()
    return {of: np.arange(len(state[name])) for name, of in tables.items()}


def test_every_table_of_single_things_is_known(learner, tables):
    """A forgotten table would be carried as a whole, and mix up rows."""
    sizes = {len(learner.state_dict()[name]) for name, of in tables.items() if of == CONTENTS}
    (contents,) = sizes
    others = [
        name for name, tensor in learner.state_dict().items()
        if len(tensor.shape) == 2 and len(tensor) == contents and name not in tables
    ]  # fmt: skip
    assert others == []
    assert DELTA in tables
    assert set(tables.values()) > {CONTENTS, "context"}


def test_with_the_same_rows_it_is_the_same_network(learner, tables, make_learner):
    before, fresh = learner.state_dict(), make_learner(dropout=0.0, seed=1).state_dict()
    found = carried(before, fresh, tables, same_rows(learner, tables))
    is_trained = before[IS_TRAINED]
    for name, tensor in found.items():
        if name.startswith("table."):
            continue  # encoded anew
        expected = before[name] * is_trained[:, None] if name == DELTA else before[name]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=0)


def test_rows_move_and_new_ones_begin_at_zero(learner, tables):
    before = learner.state_dict()
    rows = same_rows(learner, tables)
    moved = np.concatenate([rows[CONTENTS][::-1][:-1], [-1]])
    found = carried(before, learner.state_dict(), tables, {**rows, CONTENTS: moved})
    deltas = before[DELTA] * before[IS_TRAINED][:, None]
    torch.testing.assert_close(found[DELTA][:-1], deltas.flip(0)[:-1], rtol=0, atol=0)
    assert not found[DELTA][-1].any()
    torch.testing.assert_close(found[IS_TRAINED], before[IS_TRAINED])  # of the new store, not of the earlier one


def test_what_was_drawn_and_never_trained_counts_as_zero(learner, tables):
    """Otherwise a content would not begin where its sound and metadata put it, once it is heard."""
    before = learner.state_dict()
    assert not before[IS_TRAINED].all()
    assert before[DELTA][~before[IS_TRAINED]].any()
    found = carried(before, learner.state_dict(), tables, same_rows(learner, tables))
    assert not found[DELTA][~before[IS_TRAINED]].any()


@pytest.mark.parametrize(("earlier", "later"), [(Whole, Divided), (Divided, Whole), (Divided, Divided)])
def test_deltas_are_carried_between_whole_and_divided_tables(make_learner, tables, earlier, later):
    """Each content with a delta in both keeps it; the last one is new and begins at zero."""
    before, now = (
        make_learner(dropout=0.0, seed=seed, rows=rows(rank=0, ranks=1)) for seed, rows in enumerate((earlier, later))
    )
    is_trained = before.state_dict()[IS_TRAINED]
    contents = torch.arange(len(is_trained))
    rows = same_rows(before, tables) | {CONTENTS: np.append(contents[:-1], -1)}
    ids = now.divided_ids()
    division = None if ids is None else ids.division
    now.load_state_dict(carried(before.state_dict(), now.state_dict(), tables, rows, division))
    found, expected = (
        learner.two_tower.content_tower._id_delta(contents) * is_trained[:, None] for learner in (now, before)
    )
    torch.testing.assert_close(found[:-1], expected[:-1], rtol=0, atol=0)
    assert not found[-1].any()


def test_another_network_is_refused(learner, tables):
    rows = same_rows(learner, tables)
    other = {name: tensor for name, tensor in learner.state_dict().items() if "user_tower._norm" not in name}
    with pytest.raises(UserError, match=r"another one .it differs in two_tower.user_tower._norm"):
        carried(other, learner.state_dict(), tables, rows)


def test_means_of_gradients_move_with_their_rows(learner, tables):
    optimizer = adamw(learner, **ADAMW)
    for parameter in learner.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    before, rows = optimizer.state_dict(), same_rows(learner, tables)
    moved = np.concatenate([rows[CONTENTS][::-1][:-1], [-1]])
    state = carried_optimizer(
        before, adamw(learner, **{**ADAMW, "lr": 0.5}), learner, tables, {**rows, CONTENTS: moved}
    )
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    place = order.index(DELTA)
    for mean in ("exp_avg", "exp_avg_sq"):
        expected = before["state"][place][mean].flip(0).clone()
        expected[-1] = 0
        torch.testing.assert_close(state["state"][place][mean], expected, rtol=0, atol=0)
    assert state["param_groups"][0]["lr"] == 0.5
