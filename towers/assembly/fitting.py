"""Values that a training derives from its data where the configuration says null: sizes that suit ten thousand events
and a hundred million.

A step has a share of 1 / `STEPS_OF_EPOCH` of the training events, within bounds: a network learns by steps, and a
batch of all ten thousand events would leave it one step per epoch. The number of epochs gives `STEPS` steps, within
bounds. Sounds are the most expensive part: as many are encoded anew in a step as encode each about
`PASSES_OVER_SOUNDS` times in the training. docs/training.md has the measurements.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from towers.assembly.judging import Judging
from towers.config.instantiate import value
from towers.data.store import Store
from towers.evaluation.from_store import task_from_store
from towers.evaluation.result import split_key
from towers.evaluation.slices import slices_of

STEPS_OF_EPOCH = 32
LEAST_TOKENS, MOST_TOKENS = 1_024, 32_768
STEPS = 2_000
LEAST_EPOCHS, MOST_EPOCHS = 3, 30
PASSES_OVER_SOUNDS = 50
LEAST_FRESH, MOST_FRESH = 4, 64
VALIDATIONS = 5
MONITORED = ("validation/ndcg@20/discovery", "validation/ndcg@20")
"""Metrics to monitor; the first for which validation has enough listeners is taken."""

FROM_DATA = (
    "datamodule.max_tokens",
    "trainer.max_epochs",
    "trainer.validate_every_epochs",
    "trainer.monitor",
    "datamodule.num_fresh_sounds",
)
"""Keys that may be null."""


def fitted(config: DictConfig, store: Store, judging: Judging) -> tuple[DictConfig, list[str]]:
    """Returns the configuration with these keys filled in where they are null, and a line that names them.

    `trainer.monitor` stays null where validation has too few listeners for any figure: then the last state is kept.

    Args:
        config: configuration of `towers train`.
        store: store as training sees it.
        judging: settings of validation.
    """
    histories = store.histories
    events = int((np.asarray(histories.train_end) - np.asarray(histories.offsets[:-1])).sum())
    tokens = value(config, "datamodule.max_tokens", int | None) or tokens_of_step(events)
    epochs = value(config, "trainer.max_epochs", int | None) or epochs_of(events, tokens)
    steps = epochs * max(events // tokens, 1)
    # Computed only where the key is null: the last two read data whose size grows with the store.
    rules: dict[str, Callable[[], Any]] = {
        "datamodule.max_tokens": lambda: tokens,
        "trainer.max_epochs": lambda: epochs,
        "trainer.validate_every_epochs": lambda: max(1, epochs // VALIDATIONS),
        "trainer.monitor": lambda: monitor_of(store, judging),
        "datamodule.num_fresh_sounds": lambda: fresh_sounds(int((store.audio_rows >= 0).sum()), steps),
    }
    filled, told = config.copy(), []
    for key in FROM_DATA:
        if OmegaConf.select(config, key) is None:
            found = rules[key]()
            OmegaConf.update(filled, key, found)
            told.append(f"{key}={'null' if found is None else found}")
    return filled, [f"from {events:,} events of training follow {', '.join(told)}"] if told else []


def tokens_of_step(events: int) -> int:
    """Returns the padded tokens of a step, a power of two.

    >>> [tokens_of_step(events) for events in (10_000, 100_000, 1_000_000, 100_000_000)]
    [1024, 2048, 16384, 32768]
    """
    return min(max(1 << max(events // STEPS_OF_EPOCH, 1).bit_length() - 1, LEAST_TOKENS), MOST_TOKENS)


def epochs_of(events: int, tokens: int) -> int:
    """Returns the number of passes over the training events.

    >>> [epochs_of(events, tokens_of_step(events)) for events in (10_000, 100_000, 1_000_000, 100_000_000)]
    [30, 30, 30, 3]
    """
    return min(max(math.ceil(STEPS * tokens / max(events, 1)), LEAST_EPOCHS), MOST_EPOCHS)


def fresh_sounds(sounds: int, steps: int) -> int:
    """Returns the number of sounds that are encoded anew in a step.

    >>> [fresh_sounds(sounds, 1_500) for sounds in (60, 360, 1_800, 100_000)]
    [4, 12, 60, 64]
    """
    return min(max(PASSES_OVER_SOUNDS * sounds // steps, LEAST_FRESH), MOST_FRESH)


def monitor_of(store: Store, judging: Judging) -> str | None:
    """Returns the metric that the best checkpoint is chosen by; null where validation has too few listeners for any."""
    task = task_from_store(store, "validation")
    slices, listeners = slices_of(task, filter_seen=judging.filter_seen), task.ranked_targets.list_of_value
    for monitored in MONITORED:
        kept = slices[split_key(monitored.removeprefix("validation/"))[1]].keep
        if len(np.unique(listeners[kept])) >= judging.min_users:
            return monitored
    return None
