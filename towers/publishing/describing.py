"""Descriptions of an export for its manifest: facts without a clock, so that the same network gives the same bytes."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.data.store import Store
from towers.retrieval.ids import Ids

CANARIES = 8


def version_of(store: Store, fingerprint: str, exports: Path) -> str:
    """Returns the name of a version: the day on which the data ends, a number among the versions of that day, so that
    names sort in the order in which they were made, and the fingerprint of what is exported. No clock is used, so that
    the name can be reproduced.

    Args:
        store: the store that is exported.
        fingerprint: fingerprint of what is exported, in hex.
        exports: folder of all versions.
    """
    window = window_of(store)
    end = window["end"][:10].replace("-", "") if window else "undated"
    found = [re.match(rf"{end}-(\d{{3,}})-", path.name) for path in exports.glob(f"{end}-*")]
    last = max((int(match[1]) for match in found if match), default=0)
    return f"{end}-{last + 1:03d}-{fingerprint[:10]}"


def window_of(store: Store) -> dict[str, str]:
    """Returns the time of the first event, and of the last one or the time as of which the store was made, as ISO times
    in UTC; empty for data without a clock."""
    times = store.histories.timestamp_us
    if store.end_us is None or not len(times):
        return {}
    spell = {"start": int(times.min()), "end": store.end_us}
    return {name: datetime.fromtimestamp(us / 1e6, UTC).isoformat() for name, us in spell.items()}


def counts_of(store: Store) -> dict[str, int]:
    """Returns the numbers of listeners, contents, events, and contents of each kind."""
    kinds = {count["values"]: count["counts"] for count in store.contents["kind"].value_counts().to_pylist()}
    return {
        "users": len(store.users),
        "contents": len(store.contents),
        "events": len(store.histories.content_row),
        **{f"{kind}s": kinds[kind] for kind in sorted(kinds)},
    }


def described_store(store: Store) -> dict[str, Any]:
    """Returns what the vectors were made from; times are null for data without a clock, `as_of_us` where nothing is cut
    off."""
    return {
        "counts": counts_of(store),
        "has_clock": store.has_clock,
        "window": window_of(store),
        "as_of_us": store.as_of_us,
        "data_fingerprint": store.fingerprint,
        "validation_start_us": store.manifest["validation_start_us"],
        "test_start_us": store.manifest["test_start_us"],
    }


def space_told(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Returns a warning that vectors of the version before no longer fit, for users who keep them.

    Args:
        before: manifest of the version that served.
        after: manifest of the version that serves now.

    Returns:
        One line; null where the vectors of both may be mixed.
    """
    told = []
    if before["space_id"] != after["space_id"]:
        earlier = after.get("space", {}).get("earlier", {}).get("space_id")
        reason = f", for {after['space']['reason']}" if earlier == before["space_id"] else ""
        told.append(
            f"to another space ({before['space_id']} -> {after['space_id']}{reason}): earlier vectors do not fit"
        )
    if before["dim"] != after["dim"]:
        told.append(f"from {before['dim']} to {after['dim']} dimensions")
    return ", ".join(told) or None


def canaries_of(name: str, ids: Ids, vectors: Float[np.ndarray, "rows dim"]) -> list[dict[str, Any]]:
    """Returns a few rows with their vectors, evenly spaced, by which an export can be recognised.

    Args:
        name: name of the id, `content_id` or `user_id`.
        ids: ids by row.
        vectors: vectors by row.
    """
    rows = np.linspace(0, len(vectors) - 1, min(CANARIES, len(vectors))).astype(int).tolist()
    return [{name: ids[row], "row": row, "vector": np.asarray(vectors[row]).tolist()} for row in rows]
