"""A listener with a history that a test makes up, without a file of it."""

from collections.abc import Sequence

import numpy as np

from towers.contract import schema
from towers.policies.listener import Listener
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export
from towers.retrieval.query import Standing


def somebody(export: Export, done: Sequence[tuple[int, int]], vector: np.ndarray) -> Listener:
    """Returns a listener with these events (row, action), an hour apart."""
    rows, actions = (np.array(column, np.int64) for column in zip(*done, strict=True)) if done else ([], [])
    rows, actions = np.asarray(rows, np.int64), np.asarray(actions, np.int64)
    events = Events(
        content_row=rows,
        action=actions,
        timestamp_us=np.arange(len(rows)) * 3_600_000_000,
        played_fraction=np.ones(len(rows)),
        context=np.zeros(len(rows), np.int64),
        is_positive=np.isin(actions, (schema.PLAY, schema.LIKE, schema.SAVE)),
    )
    return Listener(export=export, vector=vector, standing=Standing.of(events, None))
