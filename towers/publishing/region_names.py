"""Names of regions of the space: by the genres that set them apart, or else by a piece."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.contract import schema
from towers.retrieval.export import Export
from towers.retrieval.styles import Styles

TOLD = 2
"""Largest number of genres in a name."""
SECOND = 0.5
"""Least share of the first genre's weight that the second must have to be named."""
STILL = 4
"""Number of genres with the most weight among which those of an earlier name must be for it to stay."""
LEAST = 0.01
"""Weight below which a genre is not named: the region has about as much of it as all contents have."""

Named = tuple[str, tuple[str, ...]]
"""A name, and the styles that it is made of."""


def named(
    export: Export,
    styles: Styles,
    region_of_content: Int[np.ndarray, " contents"],
    typical: Int[np.ndarray, "regions typical"],
    earlier: Sequence[Named | None],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Returns the names of all regions, all different, and the styles that each is made of.

    Args:
        export: export whose titles distinguish regions with the same genres.
        styles: styles of its contents.
        region_of_content: region of each content; -1 for none.
        typical: rows of typical contents, by region.
        earlier: name of each region in the version before; null: it did not exist. The name stays while its styles are
            among those with the most weight.
    """
    weights, common = _weights(styles, region_of_content, len(typical)), _most_frequent_kind(export)
    found: list[Named] = []
    for region, before in enumerate(earlier):
        best = np.argsort(-weights[region], kind="stable")[:STILL]
        best = [code for code in best.tolist() if weights[region, code] >= LEAST]
        if before is not None and set(before[1]) <= {styles.names[code] for code in best}:
            found.append(before)
            continue
        told = tuple(
            styles.names[code] for code in best[:TOLD] if weights[region, code] >= SECOND * weights[region, best[0]]
        )
        found.append((" and ".join(_told(name, common) for name in told), told))
    return _apart(export, found, typical), tuple(told for _, told in found)


def _weights(
    styles: Styles, region_of_content: Int[np.ndarray, " contents"], num_regions: int
) -> Float[np.ndarray, "regions styles"]:
    """Returns how much each style contributes to a region's divergence from all contents: p log(p / q), where the
    region has p of it and all contents of regions q."""
    rows = np.flatnonzero(region_of_content >= 0)
    shape = (len(region_of_content), len(styles.names))
    divided = sparse.csr_array((styles.shares, styles.codes.values, styles.codes.offsets), shape=shape)
    members = (np.ones(len(rows), np.float32), (region_of_content[rows], rows))
    sums = sparse.csr_array(sparse.csr_array(members, shape=(num_regions, shape[0])) @ divided).toarray()
    of_all = sums.sum(axis=0) / max(sums.sum(), 1)
    shares = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1)
    return shares * np.log(np.maximum(shares, 1e-12) / np.maximum(of_all, 1e-12))


def _most_frequent_kind(export: Export) -> str:
    playable = export.kinds[export.catalogue.of_kinds(schema.PLAYABLE_KINDS)]
    return schema.KINDS[np.bincount(playable, minlength=1).argmax()]


def _told(style: str, common: str) -> str:
    """Returns a style as it is in a name: the genre, with its kind where it is not the most frequent one."""
    kind, _, genre = style.partition(": ")
    return kind if not genre else genre if kind == common else f"{genre} ({kind})"


def _apart(export: Export, found: list[Named], typical: Int[np.ndarray, "regions typical"]) -> tuple[str, ...]:
    """Returns names in their order; one that is empty, or already given, is extended by the most typical piece, and
    then by a number."""
    names: list[str] = []
    for (name, _), rows in zip(found, typical.tolist(), strict=True):
        if not name or name in names:
            title = export.contents["title"][rows[0]].as_py() or export.content_ids[rows[0]]
            name = f"{name}, around {title}" if name else f"around {title}"
        number, apart = 1, name
        while apart in names:
            number += 1
            apart = f"{name} ({number})"
        names.append(apart)
    return tuple(names)
