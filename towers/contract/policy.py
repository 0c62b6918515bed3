"""Who chooses what a listener is shown: the protocol, and what a policy is told."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from towers.contract.slate import Slate


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Who asks, and when.

    Args:
        user_vector: `[dim]`, the listener in the space of the contents.
        time_us: in microseconds since 1970, UTC.
    """

    user_vector: Float[np.ndarray, " dim"]
    time_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Contents that may be shown.

    Args:
        content_rows: `[candidates]`, rows of the store or export, all different.
        scores: `[candidates]`, how well each fits the listener; higher is better.

    Raises:
        ValueError: another number of scores than of contents, or a content that stands twice.
    """

    content_rows: Int[np.ndarray, " candidates"]
    scores: Float[np.ndarray, " candidates"]

    def __post_init__(self) -> None:
        if self.content_rows.shape != self.scores.shape:
            raise ValueError(f"{len(self.content_rows)} content_rows have {len(self.scores)} scores")
        if len(np.unique(self.content_rows)) < len(self.content_rows):
            raise ValueError("content_rows must differ, and one stands twice")

    def __len__(self) -> int:
        return len(self.content_rows)


@runtime_checkable  # for the tests, which check annotations at run time
class Policy(Protocol):
    """Chooses a slate from candidates.

    A policy draws from the generator it is given and from nothing else, so the same generator gives the same slate
    again. It logs the chance of every choice in `Slate.propensities`: 1 where nothing was drawn. Both are what judging
    another policy by its log (off-policy evaluation) rests on.

    Attributes:
        policy_id: the name in `Impression.policy_id`; another for every other behaviour.
    """

    policy_id: str

    def choose(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """A slate of candidates, as long as they allow."""
        ...
