"""The strings of the raw data contract: tables, actions, kinds of content. Knows no library."""

from typing import Final

EVENTS: Final = "events"
CONTENTS: Final = "contents"
USERS: Final = "users"
PLAYLISTS: Final = "playlists"
IMPRESSIONS: Final = "impressions"
TABLES: Final = (EVENTS, CONTENTS, USERS, PLAYLISTS)
"""The tables that histories are made from."""
RAW_TABLES: Final = (*TABLES, IMPRESSIONS)
"""All raw tables of the contract."""

# The order is the code that stands in a prepared store, so it only ever grows at the end.
ACTIONS: Final = ("play", "skip", "like", "dislike", "save", "unsave", "search", "browse")
ACTION_CODES: Final = {action: code for code, action in enumerate(ACTIONS)}
PLAY: Final = ACTION_CODES["play"]
SKIP: Final = ACTION_CODES["skip"]
LIKE: Final = ACTION_CODES["like"]
DISLIKE: Final = ACTION_CODES["dislike"]
SAVE: Final = ACTION_CODES["save"]
ACTIONS_WITHOUT_CONTENT: Final = ("search", "browse")

EVENT_VOCABULARIES: Final = ("context", "device")
"""Columns of events that a store holds as codes, each in a vocabulary of its own name."""

UNTOLD: Final = {"session": -1, "device": 0}
"""Columns of events that only lists are made from, with the value for events that lack it; stores have them from
format 3 on, exports from format 4 on."""

KINDS: Final = ("track", "episode", "audiobook", "artist", "playlist")
KIND_CODES: Final = {kind: code for code, kind in enumerate(KINDS)}
PLAYABLE_KINDS: Final = ("track", "episode", "audiobook")
"""The kinds that are recommended and ranked; artists and playlists are reached through `similar`."""

UNKNOWN_PLAYED_FRACTION: Final = -1.0
"""Stands for a played fraction where the played time or the duration is not known."""
