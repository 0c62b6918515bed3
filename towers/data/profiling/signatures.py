"""Signatures of sets of ids: short texts that tell how similar two sets are, and name no member."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt64

BINS = 128
FEWEST_A_BIN = 4
"""Ids a bin, on average, below which a set of listeners is not signed: its signs might tell who is in it."""
FEWEST_SHARED = 32
"""Bins that both signatures must have for an estimate."""
_SIGNS = 16
_ROWS = 200_000
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def signature(texts: pa.ChunkedArray, fewest: int = 1) -> str:
    """Returns `BINS` hexadecimal digits, one for each bin: four bits of the least hash of the texts in it.

    One-permutation hashing (Li, Owen and Zhang 2012, "One Permutation Hashing") with few bits (Li and König 2010,
    "b-Bit Minwise Hashing"). One text of the many in a bin decides its digit, and one text in 16 would give the same
    digit, so a signature does not tell whether an id is in the set.

    Args:
        texts: members of the set; nulls are left out, order and repeats do not matter.
        fewest: least number of texts; the signature of fewer is empty.

    Returns:
        The signature; a bin without a text is a point.
    """
    texts = texts.drop_null()
    if len(texts) < fewest:
        return ""
    least = np.full(BINS, np.iinfo(np.uint64).max)
    for start in range(0, len(texts), _ROWS):
        for chunk in texts.slice(start, _ROWS).chunks:
            hashes = hashes_of(chunk)
            np.minimum.at(least, (hashes >> np.uint64(57)).astype(np.int64), _mixed(hashes))
    is_empty = least == np.iinfo(np.uint64).max
    return "".join("." if empty else f"{int(value) % _SIGNS:x}" for empty, value in zip(is_empty, least, strict=True))


def overlap(first: str, second: str) -> float | None:
    """Estimates the Jaccard similarity of two sets (intersection by union, 0 to 1) from their signatures.

    Its standard deviation is 0.05 at most; null where a signature is missing or has too few bins.
    """
    both = [(one, other) for one, other in zip(first, second, strict=False) if one != "." and other != "."]
    if len(both) < FEWEST_SHARED:
        return None
    equal = sum(one == other for one, other in both) / len(both)
    return min(max((equal - 1 / _SIGNS) / (1 - 1 / _SIGNS), 0.0), 1.0)


def deviation(jaccard: float) -> float:
    """Returns the standard deviation of `overlap` at a true similarity."""
    equal = jaccard + (1 - jaccard) / _SIGNS
    return math.sqrt(equal * (1 - equal) / BINS) / (1 - 1 / _SIGNS)


def bindings(contents: pa.Table) -> pa.ChunkedArray:
    """Joins id, title and artists of each content to one text; null where there is no title."""
    artists = pc.call_function("binary_join", [contents["artist_ids"].combine_chunks(), pa.scalar("\x1f")])
    parts = [contents["content_id"], contents["title"], pa.chunked_array([artists]).fill_null("")]
    return pc.call_function("binary_join_element_wise", [*parts, pa.scalar("\x1e")])


def hashes_of(texts: pa.Array) -> UInt64[np.ndarray, " texts"]:
    """`[texts]`, uint64: a hash of each text, the same on any machine; makes no Python object of a text."""
    wide = texts.cast(pa.large_string())
    _, offsets, data = wide.buffers()
    ends = np.frombuffer(offsets, np.int64, len(wide) + 1, wide.offset * 8)
    first, last = int(ends[0]), int(ends[-1])
    letters = np.frombuffer(data, np.uint8)[first:last] if last > first else np.zeros(0, np.uint8)
    starts, lengths = ends[:-1] - first, np.diff(ends)
    place = np.arange(last - first) - np.repeat(starts, lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _PRIME, np.uint64), dtype=np.uint64)
    table = _mixed(np.arange(1, 257, dtype=np.uint64))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(table[letters] * powers[place], dtype=np.uint64)])
    return _mixed(sums[ends[1:] - first] - sums[starts] + lengths.astype(np.uint64))


def _mixed(values: UInt64[np.ndarray, " values"]) -> UInt64[np.ndarray, " values"]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): each bit of the input moves each of the output."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
