"""What a shown card is worth, from what its listener did: never from a click alone, which is counted beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactions:
    """What listeners did with what they were shown, a row for each slot; what nobody told did not happen.

    Args:
        clicked: `[rows]`, whether it was opened.
        played_ms: `[rows]`, in milliseconds, 0 where nothing was played or the time is not known.
        skipped: `[rows]`, whether it was skipped.
        finished: `[rows]`, whether it played to its end.
        saved: `[rows]`, whether it was saved.
    """

    clicked: Bool[np.ndarray, " rows"]
    played_ms: Int[np.ndarray, " rows"]
    skipped: Bool[np.ndarray, " rows"]
    finished: Bool[np.ndarray, " rows"]
    saved: Bool[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.clicked)

    @classmethod
    def of(cls, impressions: pa.Table) -> "Reactions":
        """Of impressions with the columns of `IMPRESSION_SCHEMA`."""

        def flag(name: str) -> np.ndarray:
            return impressions[name].fill_null(False).to_numpy()

        return cls(
            clicked=flag("clicked"),
            played_ms=impressions["played_ms"].fill_null(0).to_numpy(),
            skipped=flag("skipped"),
            finished=flag("finished"),
            saved=flag("saved"),
        )


@runtime_checkable  # for the tests, which check annotations at run time
class Reward(Protocol):
    """Turns what listeners did into what it is worth."""

    def of(self, reactions: Reactions) -> Float[np.ndarray, " rows"]:
        """Worth of each row, from 0 to 1."""
        ...

    def is_stream(self, reactions: Reactions) -> Bool[np.ndarray, " rows"]:
        """Whether each row was listened to: what ends a listener's look along a shelf."""
        ...


class StreamAndSave:
    """A stream that is long enough and was not skipped, and a save on top of it.

    Args:
        min_stream_ms: a play is a stream from so many milliseconds on. One that played to its end, and of whose time
            nothing is known, is a stream.
        stream: worth of a stream.
        save: worth of a save, with a stream or without one.

    Raises:
        ValueError: a worth below 0, or together above 1 or 0.
    """

    def __init__(self, min_stream_ms: int = 30_000, stream: float = 0.8, save: float = 0.2):
        if min_stream_ms < 1:
            raise ValueError(f"min_stream_ms={min_stream_ms}: must be at least 1 millisecond")
        if stream < 0 or save < 0 or not 0 < stream + save <= 1 + 1e-9:
            raise ValueError(f"stream={stream}, save={save}: must be 0 or more, and together above 0 and at most 1")
        self.min_stream_ms, self.stream, self.save = min_stream_ms, stream, save

    def is_stream(self, reactions: Reactions) -> Bool[np.ndarray, " rows"]:
        """Whether each row is a stream."""
        is_long = reactions.played_ms >= self.min_stream_ms
        is_whole = reactions.finished & (reactions.played_ms == 0)
        return (is_long | is_whole) & ~reactions.skipped

    def of(self, reactions: Reactions) -> Float[np.ndarray, " rows"]:
        """Worth of each row, from 0 to 1."""
        return np.minimum(self.stream * self.is_stream(reactions) + self.save * reactions.saved, 1.0)


def summed(reactions: Reactions, reward: Reward) -> Mapping[str, float]:
    """Means over all rows, to be reported beside one another: `reward`, `streams`, `clicks`, `skips`, `saves`; not a
    number without rows."""
    means = {
        "reward": reward.of(reactions),
        "streams": reward.is_stream(reactions),
        "clicks": reactions.clicked,
        "skips": reactions.skipped,
        "saves": reactions.saved,
    }
    return {name: float(np.mean(values)) if len(reactions) else float("nan") for name, values in means.items()}
