"""The cascade model of attention: which slots of a slate a listener looked at, inferred from the streams.

Listeners look through a slate from its first slot on (Craswell et al., An Experimental Comparison of Click
Position-Bias Models, WSDM 2008; Kveton et al., Cascading Bandits, ICML 2015). The first few slots are on the screen at
once, so they are always seen; of the rest, those up to the last stream. A card that was not seen was not refused.

A slate without any stream can be read in two ways. `"first"`: only the first few slots were seen, as in Bendada et al.
(RecSys 2020). It is careful and one-sided: a later slot then counts as seen only where it, or one behind it, was
streamed, so cards there look better than they are until they are shown in front. `"all"`: the listener went to the end
and streamed nothing. The code published with their paper does this (its count of streams is never 0), their figures
rest on it, and it is true of the carousel world, whose listeners stop only at a stream.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from towers.errors import require_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Cascade model of attention.

    Args:
        always: number of slots that are on the screen at once.
        without_stream: which slots of a slate without streams count as seen: the `"first"` ones, which are always seen,
            or `"all"`.

    Raises:
        ValueError: `always` is below 1, or `without_stream` is neither of the two.
    """

    always: int = 3
    without_stream: Literal["first", "all"] = "first"

    def __post_init__(self) -> None:
        require_counts(always=self.always)
        if self.without_stream not in ("first", "all"):
            raise ValueError(f"without_stream must be first or all, got {self.without_stream}")

    def __call__(self, rewards: Float[np.ndarray, "listeners slots"]) -> Bool[np.ndarray, "listeners slots"]:
        """Returns whether each slot was seen; a reward above 0 is a stream."""
        is_streamed = rewards > 0
        is_seen = np.logical_or.accumulate(is_streamed[:, ::-1], axis=1)[:, ::-1]
        is_seen[:, : self.always] = True
        if self.without_stream == "all":
            is_seen[~is_streamed.any(axis=1)] = True
        return is_seen


def everything(rewards: Float[np.ndarray, "listeners slots"]) -> Bool[np.ndarray, "listeners slots"]:
    """Returns that every slot was seen: attention without a model, which the cascade is compared with."""
    return np.ones(rewards.shape, dtype=bool)
