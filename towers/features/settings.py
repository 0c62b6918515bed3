"""How raw events and metadata become numbers: one object for training, for export and for serving."""

from dataclasses import asdict, dataclass
from typing import Any

from towers.errors import UserError
from towers.features.metadata import CONTENT_PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrogramSettings:
    """The log-mel spectrogram of a content.

    Args:
        sample_rate: to which sound is resampled, in Hz.
        n_fft: window of the Fourier transform, in samples.
        hop_length: from one frame to the next, in samples.
        n_mels: mel bands.
        record_s: what is kept of a content, in seconds: the middle of longer sound; shorter sound is repeated.
        num_crops: of how many stretches of longer sound, spread evenly over it, a record is made: crops of
            record_s / num_crops seconds, their frames one after the other.

    Raises:
        UserError: a number that cannot be, or crops that do not fill a record evenly.
    """

    sample_rate: int = 16_000
    n_fft: int = 1_024
    hop_length: int = 320
    n_mels: int = 64
    record_s: float = 10.0
    num_crops: int = 1

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "num_crops"):
            if getattr(self, name) < 1:
                raise UserError(f"features.spectrogram.{name}={getattr(self, name)}: must be at least 1")
        if self.num_frames < 1:
            raise UserError(
                f"features.spectrogram.record_s={self.record_s}: shorter than a frame of {self.hop_length} samples"
            )
        if self.num_frames % self.num_crops:
            raise UserError(
                f"features.spectrogram.num_crops={self.num_crops}: a record has {self.num_frames} frames, which do not "
                "divide into so many crops; take a divisor, or another record_s"
            )
        if self.num_crops > 1 and self.num_frames // self.num_crops * self.hop_length < self.n_fft:
            raise UserError(
                f"features.spectrogram.num_crops={self.num_crops}: crops are shorter than a window of {self.n_fft} "
                "samples; take fewer, or a larger record_s"
            )

    @property
    def num_frames(self) -> int:
        """Frames in one record."""
        return int(self.record_s * self.sample_rate) // self.hop_length

    def to_dict(self) -> dict[str, Any]:
        """For a manifest; without what is as it was before there was a choice, so that digests of before stay."""
        values = asdict(self)
        if self.num_crops == 1:
            del values["num_crops"]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """What counts as liking, and which columns the towers see.

    Args:
        min_played_fraction: from which share of its duration on a play counts as positive, 0 to 1; a play of
            unknown length is positive. Likes and saves always are.
        content_parts: the metadata that the content tower reads, of `CONTENT_PARTS`.
        user_columns: columns of users/ that the user tower reads, as categories.
        spectrogram: how sound becomes a spectrogram.
    """

    min_played_fraction: float
    content_parts: tuple[str, ...]
    user_columns: tuple[str, ...]
    spectrogram: SpectrogramSettings

    def __post_init__(self) -> None:
        unknown = [part for part in self.content_parts if part not in CONTENT_PARTS]
        if unknown:
            raise UserError(f"features.content_parts: no part {unknown[0]!r}; there are {', '.join(CONTENT_PARTS)}")
        if not 0 <= self.min_played_fraction <= 1:
            raise UserError(f"features.min_played_fraction={self.min_played_fraction}: must lie in 0 to 1")

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {**asdict(self), "spectrogram": self.spectrogram.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FeatureSettings":
        """What `to_dict` gave, also after JSON."""
        return cls(
            min_played_fraction=values["min_played_fraction"],
            content_parts=tuple(values["content_parts"]),
            user_columns=tuple(values["user_columns"]),
            spectrogram=SpectrogramSettings(**values["spectrogram"]),
        )
