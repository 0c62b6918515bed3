"""The result of every kind of list: contents in order, with scores and reasons."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Reason why a content is in a list.

    Args:
        kind: a name of `policies/reasons.WORDS`, such as `saved`.
        because: row of the content or artist that the reason refers to; -1 for none.
    """

    kind: str
    because: int = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Playlist:
    """A list of contents.

    Args:
        rows: `[picks]`, rows of the contents table, in playing order; all different.
        scores: `[picks]`, how well each content fits the listener; comparable within one list.
        reasons: reason of each content; empty where the kind of list gives none.
        remark: why the list is shorter than requested, or what else its maker should know; otherwise empty.
        facts: figures of the list by name, for display or evaluation, such as a taste match.

    Raises:
        ValueError: the number of scores or reasons differs from that of contents, or a content is repeated.
    """

    rows: Int[np.ndarray, " picks"]
    scores: Float[np.ndarray, " picks"]
    reasons: tuple[Reason, ...] = ()
    remark: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows.shape != self.scores.shape:
            raise ValueError(f"{len(self.rows)} contents have {len(self.scores)} scores")
        if self.reasons and len(self.reasons) != len(self.rows):
            raise ValueError(f"{len(self.rows)} contents have {len(self.reasons)} reasons")
        if len(np.unique(self.rows)) < len(self.rows):
            raise ValueError("a content is repeated in one list")

    def __len__(self) -> int:
        return len(self.rows)
