"""Reports how much of a catalogue's sound is set aside or altered, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from towers.data.audio.spectrograms import ALTERED, REJECTED, ROWS
from towers.errors import UserError
from towers.features.sound import UNDECODED
from towers.features.sound_file import TAKES_FFMPEG


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A sound that was set aside or altered.

    Args:
        content_id: id of the content that names the sound.
        audio: path of its file.
        reason: reason in words; the part before the first colon or semicolon is its kind.
    """

    content_id: str
    audio: str
    reason: str

    @property
    def kind(self) -> str:
        """Kind of the loss, shared by many; for files that do not decode it includes their suffix."""
        kind = self.reason.replace(";", ":").partition(":")[0]
        return f"{kind}, {Path(self.audio).suffix.lower() or 'without extension'}" if kind == UNDECODED else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundLosses:
    """Sounds that a set of spectrograms lacks or has only altered.

    Args:
        named: contents that name a sound.
        rejected: sounds without a record.
        altered: sounds whose record is not the whole of them, or not their mix.
    """

    named: int
    rejected: Sequence[Loss] = ()
    altered: Sequence[Loss] = ()

    @classmethod
    def of(cls, folder: Path) -> "SoundLosses":
        """Reads the losses of the set of spectrograms in a folder."""
        rejected, altered = _read(folder / REJECTED), _read(folder / ALTERED)
        named = pq.read_metadata(folder / ROWS).num_rows + len(rejected)
        return cls(named=named, rejected=rejected, altered=altered)

    def lines(self) -> list[str]:
        """Returns lines for the terminal: how many sounds, of which kinds, and one example; none if nothing was
        lost."""
        told = (("set aside", self.rejected), ("altered", self.altered))
        return [
            f"sounds {word}: {len(losses):,} of {self.named:,}: {_kinds(losses)}" for word, losses in told if losses
        ]

    def check(self, max_rejected: float, listed: Path) -> None:
        """Holds the share of rejected sounds against a limit.

        Args:
            max_rejected: greatest share that is allowed, `data.max_rejected_sounds_fraction`.
            listed: file that names all of them.

        Raises:
            UserError: the share is above the limit.
        """
        if len(self.rejected) > max_rejected * self.named:
            raise UserError(
                f"contents/: {len(self.rejected):,} of {self.named:,} sounds cannot be used, over "
                f"data.max_rejected_sounds_fraction={max_rejected}: {_kinds(self.rejected)}; all are in {listed}; mend "
                "the sounds, or raise the limit (1: any number may be missing)"
            )


def _read(path: Path) -> list[Loss]:
    return [Loss(**row) for row in pq.read_table(path, columns=["content_id", "audio", "reason"]).to_pylist()]


def _kinds(losses: Sequence[Loss]) -> str:
    """Kinds and their numbers; an example of the commonest, and what to install where a decoder is missing."""
    kinds = Counter(loss.kind for loss in losses)
    commonest = next(loss for loss in losses if loss.kind == kinds.most_common(1)[0][0])
    counted = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())
    shown = [commonest, *(loss for loss in losses if TAKES_FFMPEG in loss.reason and loss.kind != commonest.kind)][:2]
    return f"{counted}; such as {', '.join(map(_shown, shown))}"


def _shown(loss: Loss) -> str:
    path = "" if loss.audio in loss.reason else f" ({loss.audio})"
    return f"{loss.content_id}{path}: {loss.reason}"
