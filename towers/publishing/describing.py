"""What a manifest says of an export: facts alone, no clock, so that the same network gives the same bytes."""

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
    """The day that the data ends on, a number among the versions of that day, so that they sort in the order in which
    they were made, and the fingerprint of what is exported. There is no clock in it, so that it can be made again.

    Args:
        store: what is exported.
        fingerprint: of that, in hex.
        exports: folder of all versions.
    """
    window = window_of(store)
    end = window["end"][:10].replace("-", "") if window else "undated"
    found = [re.match(rf"{end}-(\d{{3,}})-", path.name) for path in exports.glob(f"{end}-*")]
    last = max((int(match[1]) for match in found if match), default=0)
    return f"{end}-{last + 1:03d}-{fingerprint[:10]}"


def window_of(store: Store) -> dict[str, str]:
    """First event, and last event or the time that the store is as of, as ISO times in UTC; empty for data without a
    clock."""
    times = store.histories.timestamp_us
    if store.end_us is None or not len(times):
        return {}
    spell = {"start": int(times.min()), "end": store.end_us}
    return {name: datetime.fromtimestamp(us / 1e6, UTC).isoformat() for name, us in spell.items()}


def counts_of(store: Store) -> dict[str, int]:
    """Listeners, contents, events, and contents of each kind."""
    kinds = {count["values"]: count["counts"] for count in store.contents["kind"].value_counts().to_pylist()}
    return {
        "users": len(store.users),
        "contents": len(store.contents),
        "events": len(store.histories.content_row),
        **{f"{kind}s": kinds[kind] for kind in sorted(kinds)},
    }


def described_store(store: Store) -> dict[str, Any]:
    """What the vectors were made of; times are null for data without a clock, and `as_of_us` where nothing is cut."""
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
    """Tells whoever keeps vectors of the version before that they do not fit any more.

    Args:
        before: manifest of the version that served.
        after: manifest of the one that serves now.

    Returns:
        One line; null where the vectors of both may be mixed.
    """
    told = []
    if before["space_id"] != after["space_id"]:
        earlier = after.get("space", {}).get("earlier", {}).get("space_id")
        reason = f", for {after['space']['reason']}" if earlier == before["space_id"] else ""
        told.append(
            f"to another space ({before['space_id']} -> {after['space_id']}{reason}): vectors of before do not fit"
        )
    if before["dim"] != after["dim"]:
        told.append(f"from {before['dim']} to {after['dim']} dimensions")
    return ", ".join(told) or None


def canaries_of(name: str, ids: Ids, vectors: Float[np.ndarray, "rows dim"]) -> list[dict[str, Any]]:
    """A few rows with their vectors, evenly spaced: who has these in the same place has the export that was written.

    Args:
        name: of the id, `content_id` or `user_id`.
        ids: by row.
        vectors: by row.
    """
    rows = np.linspace(0, len(vectors) - 1, min(CANARIES, len(vectors))).astype(int).tolist()
    return [{name: ids[row], "row": row, "vector": np.asarray(vectors[row]).tolist()} for row in rows]
