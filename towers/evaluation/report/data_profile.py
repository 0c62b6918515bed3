"""Short profile of a prepared store: counts and times."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from towers.data.store import Store

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
MAX_REASONS = 10
"""Largest number of reasons shown for a table; a reason that names a value occurs once for each value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProfile:
    """Counts and times of a store.

    Args:
        counts: counts by name.
        kinds: number of contents by kind.
        rejected: number of rejected rows by table and reason, most frequent first; empty if there are none.
        times: first event, cuts and last event, as text; empty if the data has no timestamps.
        history_lengths: quantiles of the number of events per listener, by quantile in [0, 1].
    """

    counts: Mapping[str, int]
    kinds: Mapping[str, int]
    rejected: Mapping[str, Mapping[str, int]]
    times: Mapping[str, str]
    history_lengths: Mapping[float, float]


def data_profile(store: Store) -> DataProfile:
    """Builds the profile from the store's manifest, rejected rows and ends of histories, without reading all events."""
    counts = store.manifest["counts"]
    kinds = store.contents["kind"].drop_null().value_counts().to_pylist()
    lengths = np.diff(store.histories.offsets)[store.has_user]
    return DataProfile(
        counts={name: counts[name] for name in ("users", "contents", "events", "positives", "sounds")},
        kinds={kind["values"]: kind["counts"] for kind in sorted(kinds, key=lambda kind: -kind["counts"])},
        rejected=_rejected(store),
        times=_times(store) if store.has_clock else {},
        history_lengths={
            quantile: float(length) for quantile, length in zip(QUANTILES, np.quantile(lengths, QUANTILES), strict=True)
        }
        if len(lengths)
        else {},
    )


def _rejected(store: Store) -> dict[str, dict[str, int]]:
    found = {}
    for table, reasons in store.rejected().items():
        ranked = list(reasons.items())
        found[table] = dict(ranked[:MAX_REASONS])
        if others := sum(count for _, count in ranked[MAX_REASONS:]):
            found[table]["other reasons"] = others
    return found


def _times(store: Store) -> dict[str, str]:
    histories, manifest = store.histories, store.manifest
    offsets = np.asarray(histories.offsets)
    some = np.diff(offsets) > 0
    if not some.any():
        return {}
    # Histories are in time order, so only their ends are read.
    first = histories.timestamp_us[offsets[:-1][some]].min()
    last = histories.timestamp_us[offsets[1:][some] - 1].max()
    times = {
        "first event": first,
        "training ends": manifest["validation_start_us"] - store.gap_us if store.gap_us else None,
        "validation begins": manifest.get("validation_start_us"),
        "test begins": manifest.get("test_start_us"),
        "last event": last,
    }
    return {name: _day(int(time)) for name, time in times.items() if time is not None}


def _day(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
