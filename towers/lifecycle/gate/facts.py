"""Facts on an export for a gate, read from its folder."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from towers.lifecycle.gate.evidence import Exported
from towers.manifest import read_json
from towers.retrieval.export import Export
from towers.retrieval.files import DRIFT
from towers.retrieval.ids import Ids

ROWS_AT_ONCE = 65_536


def facts_of(export: Export, champion: Export | None) -> Exported:
    """Reads facts on a version to be published and on the served one.

    Args:
        export: version to be published.
        champion: served version; null on the first night.
    """
    path = export.folder / DRIFT
    return Exported(
        manifest=export.manifest,
        norms=norms_of((export.vectors, export.user_vectors)),
        drift=read_json(path) if path.exists() else None,
        champion=None if champion is None else champion.manifest,
        vanished=None if champion is None else vanished(champion, export),
    )


def norms_of(matrices: Iterable[Float[np.ndarray, "_ dim"]]) -> tuple[float, float]:
    """Returns the least and greatest length of a row of any matrix; NaN where one is NaN, and without rows."""
    least, most = [], []
    for vectors in matrices:
        for first in range(0, len(vectors), ROWS_AT_ONCE):
            norms = np.linalg.norm(vectors[first : first + ROWS_AT_ONCE], axis=1)
            least.append(norms.min())
            most.append(norms.max())
    return (float(np.min(least)), float(np.max(most))) if least else (float("nan"), float("nan"))


def vanished(champion: Export, export: Export) -> dict[str, float]:
    """Returns the share of the ids of the served version that a new one lacks, by `contents` and `listeners`."""
    return {
        "contents": _share_gone(champion.content_ids, export.content_ids),
        "listeners": _share_gone(champion.user_ids, export.user_ids),
    }


def _share_gone(before: Ids, after: Ids) -> float:
    if not len(before):
        return 0.0
    gone = 0
    for first in range(0, len(before), ROWS_AT_ONCE):
        gone += int((after.rows(before[first : first + ROWS_AT_ONCE]) < 0).sum())
    return gone / len(before)
