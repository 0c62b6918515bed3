"""What contents are, as codes: genres and artists."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Int

from towers.data.store import Store
from towers.features.metadata import content_values, encode_values
from towers.features.ragged import Ragged
from towers.features.vocabulary import Vocabulary

GENRES: Final = "genres"
ATTRIBUTES: Final = {GENRES: "genres", "artists": "artist_ids"}
"""By name, the part of the metadata that holds it. Not the kind, which every content has: two tracks of which nothing
else is known would be alike."""


def content_attributes(store: Store) -> dict[str, Ragged]:
    """By name of `ATTRIBUTES`, the codes of every content; empty where nothing is known.

    Unlike `Store.content_codes` they hold what training has not seen too: a list of cold contents is as diverse as
    their genres are. A number stands for the same value within one attribute alone.
    """
    found = {name: content_values(part, store.contents) for name, part in ATTRIBUTES.items()}
    return {name: encode_values(values, texts, Vocabulary(texts)) for name, (values, texts) in found.items()}


def single_codes(codes: Int[np.ndarray, " contents"]) -> Ragged:
    """One code a content as lists; -1 is none."""
    offsets = np.concatenate([[0], np.cumsum(codes >= 0)]).astype(np.int64)
    return Ragged(offsets, codes[codes >= 0])


def merged_attributes(attributes: Mapping[str, Ragged], num_contents: int) -> Ragged:
    """All attributes of each content as one sorted list without repeats; values of different attributes differ."""
    lists, tags, first = [], [], 0
    for codes in attributes.values():
        lists.append(codes.list_of_value)
        tags.append(first + codes.values.astype(np.int64))
        first += 1 + int(codes.values.max(initial=-1))
    contents = np.concatenate([np.zeros(0, np.int64), *lists])
    order = np.argsort(contents, kind="stable")
    offsets = np.searchsorted(contents[order], np.arange(num_contents + 1)).astype(np.int64)
    return Ragged(offsets, np.concatenate([np.zeros(0, np.int64), *tags])[order]).unique()
