"""Why a content stands in a list, in words."""

from towers.policies.playlist import Reason
from towers.retrieval.export import Export
from towers.retrieval.show import title_card

WORDS = {
    "saved": "because you saved {}",
    "liked": "because you liked {}",
    "played": "because you played {}",
    "often": "you play it often",
    "artist": "by {}, whom you play",
    "new_by": "new by {}",
    "close_in_sound": "close in sound to {}",
    "listened_with": "people who play {} play it",
    "popular": "popular these days",
    "editor": "the editor's choice",
    "pinned": "the editor put it here",
    "shared": "for all of you",
    "after": "goes on from {}",
    "fits": "fits what you play",
}
"""By kind; `{}` is the title of what the reason refers to."""


def in_words(export: Export, reason: Reason) -> str:
    """A reason as people read it."""
    words = WORDS[reason.kind]
    return words.format(title_card(export, reason.because)[0]) if "{}" in words else words
