"""What every kind of list is: contents in their order, how well each fits, and why it is there."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a content stands in a list.

    Args:
        kind: a name of `policies/reasons.WORDS`, such as `saved`.
        because: row of the content or artist that the reason refers to; -1 where it refers to none.
    """

    kind: str
    because: int = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Playlist:
    """A list of contents.

    Args:
        rows: `[picks]`, of the contents table, in the order in which they are played; all different.
        scores: `[picks]`, how well each fits whom the list is for; comparable within one list.
        reasons: why each is there; empty where the kind of list gives none.
        remark: why the list is shorter than was asked for, or what else its maker should know; empty else.
        facts: figures of the list by name, for whoever shows or judges it, such as a taste match.

    Raises:
        ValueError: another number of scores or reasons than of contents, or a content that stands twice.
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
            raise ValueError("a content stands twice in one list")

    def __len__(self) -> int:
        return len(self.rows)
