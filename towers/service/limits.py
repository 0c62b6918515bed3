"""Limits on what one request may ask for."""

from dataclasses import dataclass, fields
from typing import Final

from towers.errors import UserError

LIMIT: Final = "towers.limit"
"""Key of a request's scope that holds the name of the limit by which the request was refused."""


class OverLimit(UserError):
    """A question that asks for more than a limit.

    Args:
        limit: name of the limit, such as `max_k`.
        said: the message, one line.
    """

    def __init__(self, limit: str, said: str):
        super().__init__(said)
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits above which a request is refused; all at least 1.

    Args:
        max_k: contents or listeners in an answer.
        max_history: events in a history.
        max_ids: ids in `among` or in `deny`.
        max_text: characters of a search text.
        max_body_bytes: bytes of a request's body.
        max_map: contents on a map.
        max_members: listeners, artists or curators that a list is for.
        max_seeds: contents that a list goes on from, or that are subtracted.
        max_pool: contents of an editor's pool.
        max_quotas: quotas of an editor's pool.
    """

    max_k: int
    max_history: int
    max_ids: int
    max_text: int
    max_body_bytes: int
    max_map: int
    max_members: int
    max_seeds: int
    max_pool: int
    max_quotas: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name}={getattr(self, field.name)}: must be at least 1")
