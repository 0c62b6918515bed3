"""A carousel world of the user's own cards and listeners, read from two files.

A file is CSV or Parquet; each row is a card or a listener, with an id and a number for each direction of taste. Cards
have one more column, `bias`. Listeners may have a column `segment`, whole numbers from 0; otherwise segments are made
by k-means. The columns of both files are matched by name (`dim_0` with `dim_0`), or, where every name ends in a
distinct number, by that number (`weight_0` with `taste_0`). The files published by Bendada et al. can be read
unchanged: they have no ids, and their bias column is named by a number that is none of the listeners' columns.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.contract.schema import KIND_CODES
from towers.simulation.carousel.segments import segments_of
from towers.simulation.carousel.tables import Numbers, read_numbers
from towers.simulation.carousel.world import Cards, Carousel, Listeners

BIAS, SEGMENT = "bias", "segment"
CARD_KIND = "playlist"
LARGEST_SEGMENT = 1_000_000


def carousel_of_files(cards: Path, listeners: Path, *, segments: int = 100, slots: int = 12, seed: int = 0) -> Carousel:
    """Reads a world from two files.

    Args:
        cards: file of weights and biases; all cards count as playlists.
        listeners: file of vectors, and optionally segments.
        segments: number of segments to make where the listeners have none.
        slots: number of slots of a slate.
        seed: seed of the segments.

    Raises:
        UserError: a file is not such a table (`read_numbers`), cards have no bias, a segment is no whole number from 0,
            or the directions of the files differ; the message names the file and the column.
    """
    weights, vectors = read_numbers(cards, "world.cards"), read_numbers(listeners, "world.listeners")
    tastes = [name for name in vectors.names if name.lower() != SEGMENT]
    if not tastes:
        raise vectors.error("has no column of numbers besides the segment")
    bias = _bias_name(weights, tastes)
    matched = _matched(weights, [name for name in weights.names if name != bias], vectors, tastes)
    told = [name for name in vectors.names if name.lower() == SEGMENT]
    listener_vectors = vectors.values[:, [vectors.names.index(name) for name in tastes]]
    groups = _told_segments(vectors, told[0]) if told else segments_of(listener_vectors, segments, seed)
    return Carousel(
        cards=Cards(
            rows=np.arange(len(weights.ids)),
            ids=weights.ids,
            weights=weights.values[:, [weights.names.index(name) for name in matched]],
            biases=weights.column(bias),
            kinds=np.full(len(weights.ids), KIND_CODES[CARD_KIND]),
        ),
        listeners=Listeners(ids=vectors.ids, vectors=listener_vectors, segments=groups),
        slots=slots,
    )


def _bias_name(weights: Numbers, tastes: list[str]) -> str:
    """Returns the name of the column of biases."""
    named = [name for name in weights.names if name.lower() == BIAS]
    if named:
        return named[0]
    last = weights.names[-1]
    if last.isdigit() and last not in tastes and len(weights.names) == len(tastes) + 1:
        return last
    raise weights.error(f"has no column {BIAS!r}: add it, with 0 for cards without a bias")


def _matched(weights: Numbers, directions: list[str], vectors: Numbers, tastes: list[str]) -> list[str]:
    """Returns the cards' column for each of the listeners' columns."""
    own, other = (_by_number(directions), _by_number(tastes)) if {*directions} != {*tastes} else ({}, {})
    if not own or not other:
        own, other = {name: name for name in directions}, {name: name for name in tastes}
    for here, there, its, table in ((own, other, weights, vectors), (other, own, vectors, weights)):
        lacking = [name for key, name in here.items() if key not in there]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise table.error(f"has no column for {lacking[0]!r}{more} of {its.key}; both need the same directions")
    return [own[key] for key in other]


def _by_number(names: list[str]) -> dict[str, str]:
    """Returns columns by the number at the end of their names; empty where a name has none, or two have the same."""
    ends = [re.search(r"(\d+)$", name) for name in names]
    numbered = {str(int(end[1])): name for end, name in zip(ends, names, strict=True) if end}
    return numbered if len(numbered) == len(names) else {}


def _told_segments(vectors: Numbers, name: str) -> Int[np.ndarray, " rows"]:
    """Returns the listeners' segments from the file."""
    told: Float[np.ndarray, " rows"] = vectors.column(name)
    is_wrong = (told < 0) | (told != np.round(told)) | (told > LARGEST_SEGMENT)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        message = f"column {name!r}, row {row + 1}: must be a whole number from 0 to {LARGEST_SEGMENT}, got {told[row]}"
        raise vectors.error(message)
    # Renumbered without gaps, in order, so that policies keep no counts of segments without listeners.
    return np.unique(told, return_inverse=True)[1].astype(np.int64)
