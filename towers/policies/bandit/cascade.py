"""Which slots of a slate a listener looked at, told from what he streamed: the cascade model of attention.

Listeners look through a slate from its first slot on (Craswell et al., An Experimental Comparison of Click
Position-Bias Models, WSDM 2008; Kveton et al., Cascading Bandits, ICML 2015). The first few slots are on the screen at
once, so they are always seen; of the rest, those up to the last stream. What was not seen is not a refusal.

Of a slate without any stream two things can be thought. `"first"`: only the first few were seen, as Bendada et al.
(RecSys 2020) put it. It is careful and one-sided: a slot behind the first few is then seen only where it, or one behind
it, was streamed, so cards there look better than they are until they stand in front. `"all"`: the listener went to the
end and found nothing. That is what the code published with their paper does (its count of streams is never 0), what
their figures rest on, and the truth of the carousel world, whose listeners stop at nothing but a stream.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from towers.errors import require_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Attention as a cascade.

    Args:
        always: slots that are on the screen at once.
        without_stream: what is seen of a slate of which nothing is streamed: its `"first"` slots, those always seen, or
            `"all"`.

    Raises:
        ValueError: `always` is below 1, or `without_stream` another word.
    """

    always: int = 3
    without_stream: Literal["first", "all"] = "first"

    def __post_init__(self) -> None:
        require_counts(always=self.always)
        if self.without_stream not in ("first", "all"):
            raise ValueError(f"without_stream must be first or all, got {self.without_stream}")

    def __call__(self, rewards: Float[np.ndarray, "listeners slots"]) -> Bool[np.ndarray, "listeners slots"]:
        """Whether each slot was seen; a reward above 0 is a stream."""
        is_streamed = rewards > 0
        is_seen = np.logical_or.accumulate(is_streamed[:, ::-1], axis=1)[:, ::-1]
        is_seen[:, : self.always] = True
        if self.without_stream == "all":
            is_seen[~is_streamed.any(axis=1)] = True
        return is_seen


def everything(rewards: Float[np.ndarray, "listeners slots"]) -> Bool[np.ndarray, "listeners slots"]:
    """Attention without a model: every slot was seen. What the cascade is compared with."""
    return np.ones(rewards.shape, dtype=bool)
