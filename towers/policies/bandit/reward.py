"""Rewards of shown cards, from what listeners did: never from a click alone; clicks are only reported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from towers.retrieval.export import Export
from towers.retrieval.ids import Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactions:
    """What listeners did with what they were shown, a row for each slot; an outcome that is not recorded did not
    happen.

    Args:
        clicked: `[rows]`, whether it was opened.
        played_ms: `[rows]`, milliseconds, 0 where nothing was played or the time is not known.
        skipped: `[rows]`, whether it was skipped.
        finished: `[rows]`, whether it played to its end.
        saved: `[rows]`, whether it was saved.
        chosen_id: `[rows]`, raw id of what was shown, text.
    """

    clicked: Bool[np.ndarray, " rows"]
    played_ms: Int[np.ndarray, " rows"]
    skipped: Bool[np.ndarray, " rows"]
    finished: Bool[np.ndarray, " rows"]
    saved: Bool[np.ndarray, " rows"]
    chosen_id: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.clicked)

    @classmethod
    def of(cls, impressions: pa.Table) -> "Reactions":
        """Reads impressions with the columns of `IMPRESSION_SCHEMA`."""

        def flag(name: str) -> np.ndarray:
            return impressions[name].fill_null(False).to_numpy()

        return cls(
            clicked=flag("clicked"),
            played_ms=impressions["played_ms"].fill_null(0).to_numpy(),
            skipped=flag("skipped"),
            finished=flag("finished"),
            saved=flag("saved"),
            chosen_id=impressions["chosen_id"],
        )


@runtime_checkable  # for the tests, which check annotations at run time
class Reward(Protocol):
    """Reward of what listeners did."""

    def of(self, reactions: Reactions) -> Float[np.ndarray, " rows"]:
        """Returns the reward of each row, from 0 to 1."""
        ...

    def is_stream(self, reactions: Reactions) -> Bool[np.ndarray, " rows"]:
        """Returns whether each row was listened to, which ends a listener's look along a shelf."""
        ...


@runtime_checkable  # for the tests, which check annotations at run time
class RewardBy(Protocol):
    """A reward as configured, before what it reads of an export is known."""

    def by(self, export: Export) -> Reward:
        """Returns the reward with what the export knows of contents.

        Raises:
            UserError: the export lacks what the reward needs.
        """
        ...


class StreamAndSave:
    """A reward for a stream that is long enough and was not skipped, and for a save on top of it.

    Args:
        min_stream_ms: a play is a stream from this many milliseconds on. One that played to its end but whose time is
            not known is a stream.
        stream: reward of a stream.
        save: reward of a save, with a stream or without one.

    Raises:
        ValueError: a reward is below 0, or their sum is 0 or above 1.
    """

    def __init__(self, min_stream_ms: int = 30_000, stream: float = 0.8, save: float = 0.2):
        if min_stream_ms < 1:
            raise ValueError(f"min_stream_ms={min_stream_ms}: must be at least 1 millisecond")
        if stream < 0 or save < 0 or not 0 < stream + save <= 1 + 1e-9:
            raise ValueError(f"stream={stream}, save={save}: must be 0 or more, and together above 0 and at most 1")
        self.min_stream_ms, self.stream, self.save = min_stream_ms, stream, save

    def by(self, export: Export) -> "StreamAndSave":
        """Returns itself: the contents do not matter."""
        return self

    def is_stream(self, reactions: Reactions) -> Bool[np.ndarray, " rows"]:
        """Returns whether each row is a stream."""
        is_long = reactions.played_ms >= self.min_stream_ms
        is_whole = reactions.finished & (reactions.played_ms == 0)
        return (is_long | is_whole) & ~reactions.skipped

    def of(self, reactions: Reactions) -> Float[np.ndarray, " rows"]:
        """Returns the reward of each row, from 0 to 1."""
        return np.minimum(self.stream * self.is_stream(reactions) + self.save * reactions.saved, 1.0)


class LongTermReturn:
    """Rewards like `StreamAndSave`, but weighs a stream by how often listeners come back after discovering its content.

    A card's expected reward is then the probability of a stream times the expected return: a card that many play once
    is worth less than one that fewer play and stay with. Contents that the export does not know have reward 0.

    Args:
        min_stream_ms: as in `StreamAndSave`.
        stream: reward of a stream of the contents with the greatest expected return; others in proportion to theirs.
        save: reward of a save, with a stream or without one.
        best_share: share of the contents, those with the greatest expected return, that count as worth most, so that an
            outlier does not set the scale.

    Raises:
        ValueError: as `StreamAndSave`, or `best_share` is outside [0, 1).
    """

    def __init__(self, min_stream_ms: int = 30_000, stream: float = 0.8, save: float = 0.2, best_share: float = 0.01):
        if not 0 <= best_share < 1:
            raise ValueError(f"best_share={best_share}: must be a share, 0 to below 1")
        self._plain, self._best_share = StreamAndSave(min_stream_ms, stream, save), best_share

    def by(self, export: Export) -> "StreamByReturn":
        """Returns the reward with the export's expected returns; raises `UserError` where it has none."""
        expected = np.asarray(export.known_long_term().expected, np.float64)
        most = float(np.quantile(expected, 1 - self._best_share))
        worth = np.minimum(expected / most, 1.0) if most > 0 else np.ones(len(expected))
        return StreamByReturn(self._plain, worth, export.content_ids)


class StreamByReturn:
    """`LongTermReturn` for one export.

    Args:
        plain: the reward that tells which rows are streams, and the largest rewards of streams and saves.
        worth: `[contents]`, factor on a stream's reward by row of the export, 0 to 1.
        content_ids: content ids of the export.
    """

    def __init__(self, plain: StreamAndSave, worth: Float[np.ndarray, " contents"], content_ids: Ids):
        self._plain, self._worth, self._content_ids = plain, worth, content_ids

    def is_stream(self, reactions: Reactions) -> Bool[np.ndarray, " rows"]:
        """Returns whether each row is a stream."""
        return self._plain.is_stream(reactions)

    def of(self, reactions: Reactions) -> Float[np.ndarray, " rows"]:
        """Returns the reward of each row, from 0 to 1."""
        rows = self._content_ids.rows(reactions.chosen_id.fill_null(""))
        streams = self.is_stream(reactions) * np.where(rows >= 0, self._worth[rows], 0.0)
        return np.minimum(self._plain.stream * streams + self._plain.save * reactions.saved, 1.0)


def summed(reactions: Reactions, reward: Reward) -> Mapping[str, float]:
    """Returns means over all rows, to be reported side by side: `reward`, `streams`, `clicks`, `skips`, `saves`; NaN
    without rows."""
    means = {
        "reward": reward.of(reactions),
        "streams": reward.is_stream(reactions),
        "clicks": reactions.clicked,
        "skips": reactions.skipped,
        "saves": reactions.saved,
    }
    return {name: float(np.mean(values)) if len(reactions) else float("nan") for name, values in means.items()}
