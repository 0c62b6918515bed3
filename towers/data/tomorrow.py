"""A store seen from a night in its past: everything before it is training, and the days after it are the test."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.data.event_times import shown_time
from towers.data.store import Store
from towers.errors import UserError
from towers.manifest import digest_of


def tomorrow_of(store: Store, night_us: int, days: float) -> Store:
    """Returns the store with training up to a night, a test of the days after it, and no validation.

    Thus the vectors of a night are evaluated on the days that followed, without another prepare: the test equals the
    validation of `data/split=temporal data.split.validation_start=NIGHT`. Contents and listeners of later days keep
    their rows, and a network of that night does not know them. Vocabularies stay those of the store.

    Args:
        store: store that also holds the days after the night, of data with a clock.
        night_us: the end of the night's data, in microseconds since 1970, UTC.
        days: length of the test, in days; it is shorter where the store ends before.

    Raises:
        UserError: the data has no clock, its cuts are no times, or nothing in the store is from after the night.
    """
    if store.end_us is None or store.manifest["validation_start_us"] is None:
        raise UserError(
            f"{store.folder}: events are not cut at a time; prepare data with a clock by data/split=temporal"
        )
    if store.end_us < night_us:
        raise UserError(
            f"{store.folder}: ends at {shown_time(store.end_us)}, so that nothing in it is from after "
            f"{shown_time(night_us)}; prepare the days that followed first"
        )
    end_us = night_us + round(days * DAY_US)
    view = store.cut(end_us)
    whole = view.histories
    is_before = np.asarray(whole.timestamp_us) < night_us
    num_before = np.concatenate([[0], np.cumsum(is_before)])
    offsets = np.asarray(whole.offsets)
    # What is from before is the beginning of each listener's events.
    end = offsets[:-1] + num_before[offsets[1:]] - num_before[offsets[:-1]]
    view.histories = replace(whole, train_end=end, validation_start=end, validation_end=end, test_start=end)
    view.contents = _counted(view, is_before)
    for name in ("train_positives", "first_heard_us"):
        view.__dict__.pop(name, None)
    view.manifest = {
        **view.manifest,
        "fingerprint": digest_of([view.fingerprint, night_us, end_us])[:16],
        "validation_start_us": night_us,
        "test_start_us": night_us,
        "gap_us": 0,
        "periods": [],
    }
    return view


def _counted(store: Store, is_before: Bool[np.ndarray, " events"]) -> pa.Table:
    """Returns the table of contents with counts of the events from before the night."""
    histories, contents = store.histories, store.contents
    rows = np.asarray(histories.content_row)
    is_before = is_before & (rows >= 0)
    counted = {
        "train_positives": is_before & np.asarray(histories.is_positive),
        "train_plays": is_before & (np.asarray(histories.action) == schema.PLAY),
        "train_events": is_before,
    }
    for name, is_counted in counted.items():
        number = np.bincount(rows[is_counted], minlength=len(contents))
        at = contents.column_names.index(name)
        contents = contents.set_column(at, contents.field(name), pa.array(number, contents.field(name).type))
    return contents
