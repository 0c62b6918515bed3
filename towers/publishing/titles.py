"""Titles normalised to compare recordings: without case, punctuation, and remarks about the edition."""

import re
import unicodedata
from functools import lru_cache

_REMARK = re.compile(r"\s*(?:\(([^()]*)\)|\[([^\[\]]*)\]|\s[-–—]\s+([^-–—()\[\]]+))\s*$")
"""The last remark of a title: in brackets, or after a dash between spaces."""

_EDITIONS = re.compile(
    r"\b(?:re-?master(?:ed)?|mono|stereo|deluxe|bonus|anniversary|edition|version|explicit|clean|feat|featuring|ft|"
    r"single|album|original|digital(?:ly)?|reissue|expanded|re-?release)\b"
)
"""Words of a remark about an edition, which is the same recording."""

_VERSIONS = re.compile(
    r"\b(?:live|re-?mix(?:ed)?|mix|instrumental|acoustic|demo|karaoke|cover|edit|unplugged|sessions?|dub|a ?cappella|"
    r"sped up|slowed|reprise|orchestral|rehearsal|take|alternate|alternative|extended|radio|re-?recorded|piano)\b"
)
"""Words of a remark about another recording of the same piece."""


@lru_cache(maxsize=1 << 16)
def base_and_version(title: str) -> tuple[str, str]:
    """Returns a title without case, punctuation and remarks, and what its remarks say of another recording; empty:
    nothing.

    A remark is kept where it names neither an edition nor a version: "(Part 2)" is another piece.

    >>> base_and_version("Day-Tripper (Remastered 2011) - Live at home")
    ('day tripper', 'live')
    >>> base_and_version("Symphony No. 5 - II. Andante")
    ('symphony no 5 ii andante', '')
    """
    base, versions = unicodedata.normalize("NFKC", title).casefold(), set()
    while found := _REMARK.search(base):
        remark = next(part for part in found.groups() if part is not None)
        named = _VERSIONS.findall(remark)
        if (not named and not _EDITIONS.search(remark)) or not _plain(base[: found.start()]):
            break
        versions.update(named)
        base = base[: found.start()]
    return _plain(base), " ".join(sorted(versions))


def _plain(text: str) -> str:
    """Returns the text's letters and digits, between single spaces."""
    return " ".join(re.findall(r"\w+", text.replace("_", " ")))
