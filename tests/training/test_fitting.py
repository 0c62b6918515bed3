"""Settings of a training that follow from its data where the configuration says null."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.assembly.fitting import (
    FROM_DATA,
    LEAST_EPOCHS,
    LEAST_TOKENS,
    MOST_EPOCHS,
    MOST_TOKENS,
    epochs_of,
    fitted,
    tokens_of_step,
)
from towers.assembly.judging import judging_of
from towers.assembly.training import training_plan
from towers.config.composing import compose


@given(events=st.integers(0, 10**10))
def test_sizes_stay_within_their_bounds_and_grow(events: int) -> None:
    tokens = tokens_of_step(events)
    assert LEAST_TOKENS <= tokens <= MOST_TOKENS
    assert tokens & (tokens - 1) == 0
    assert tokens <= tokens_of_step(events + 1_000)
    assert LEAST_EPOCHS <= epochs_of(events, tokens) <= MOST_EPOCHS


@pytest.mark.parametrize(("min_users", "monitor"), [(1, "validation/ndcg@20/discovery"), (10**6, None)])
def test_what_is_watched_is_what_validation_has_listeners_for(world_store, min_users: int, monitor: str | None) -> None:
    config = compose("train", ["data.root=here", f"evaluation.min_users={min_users}"])
    filled, (told,) = fitted(config, world_store, judging_of(config))
    assert filled.trainer.monitor == monitor
    assert all(f"{key}=" in told for key in FROM_DATA)
    assert filled.datamodule.max_tokens == 1024
    assert config.datamodule.max_tokens is None


def test_what_is_given_stays(world_store) -> None:
    given = dict.fromkeys(FROM_DATA, 7) | {"trainer.monitor": "validation/mrr@5"}
    config = compose("train", ["data.root=here", *(f"{key}={one}" for key, one in given.items())])
    filled, told = fitted(config, world_store, judging_of(config))
    assert told == []
    assert filled == config


def test_what_is_given_is_not_looked_for(world_store, monkeypatch) -> None:
    """To find the listeners whom validation judges takes a pass over all events, which a finished run would pay at
    every start.
    """
    monkeypatch.setattr("towers.assembly.fitting.task_from_store", None)
    keys = ["trainer.monitor=validation/mrr@5", "datamodule.num_fresh_sounds=5"]
    config = compose("train", ["data.root=here", *keys])
    assert fitted(config, world_store, judging_of(config))[0].trainer.max_epochs == MOST_EPOCHS


def test_a_given_batch_decides_on_the_epochs(world_store) -> None:
    config = compose("train", ["data.root=here", "datamodule.max_tokens=8192", "trainer.validate_every_epochs=3"])
    filled, (told,) = fitted(config, world_store, judging_of(config))
    assert filled.trainer.max_epochs == MOST_EPOCHS
    assert "max_tokens" not in told


def test_a_learning_rate_says_that_it_leaves_the_id_table_alone(world_store) -> None:
    def told(*overrides: str) -> str:
        return "\n".join(training_plan(compose("train", overrides), world_store).told)

    assert "optimizer.lr=0.004 leaves the id table at optimizer.id_lr=0.002" in told("optimizer.lr=0.004")
    assert "id_lr" not in told("optimizer.lr=0.004", "optimizer.id_lr=0.004")
    assert "id_lr" not in told()
