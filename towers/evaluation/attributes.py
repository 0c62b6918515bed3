"""Attributes of contents as codes: genres and artists."""

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
"""Metadata part of each attribute, by name. The kind is not among them, since every content has one: two tracks without
any other metadata would count as alike."""


def content_attributes(store: Store) -> dict[str, Ragged]:
    """Returns the codes of every content by name of `ATTRIBUTES`; an empty list where nothing is known.

    Unlike `Store.content_codes`, they include values not seen in training, so that the diversity of cold contents is
    measured, too. A code is only valid within its attribute.
    """
    found = {name: content_values(part, store.contents) for name, part in ATTRIBUTES.items()}
    return {name: encode_values(values, texts, Vocabulary(texts)) for name, (values, texts) in found.items()}


def single_codes(codes: Int[np.ndarray, " contents"]) -> Ragged:
    """Converts one code per content to lists; -1 gives an empty list."""
    offsets = np.concatenate([[0], np.cumsum(codes >= 0)]).astype(np.int64)
    return Ragged(offsets, codes[codes >= 0])


def merged_attributes(attributes: Mapping[str, Ragged], num_contents: int) -> Ragged:
    """Merges all attributes of each content into one sorted list of tags without repeats.

    Values of different attributes have different tags.
    """
    lists, tags, first = [], [], 0
    for codes in attributes.values():
        lists.append(codes.list_of_value)
        tags.append(first + codes.values.astype(np.int64))
        first += 1 + int(codes.values.max(initial=-1))
    contents = np.concatenate([np.zeros(0, np.int64), *lists])
    order = np.argsort(contents, kind="stable")
    offsets = np.searchsorted(contents[order], np.arange(num_contents + 1)).astype(np.int64)
    return Ragged(offsets, np.concatenate([np.zeros(0, np.int64), *tags])[order]).unique()
