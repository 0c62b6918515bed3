"""Settings that turn raw events, metadata and sound into numbers; training, export and serving share them."""

from dataclasses import asdict, dataclass
from typing import Any

from towers.errors import UserError
from towers.features.metadata import CONTENT_PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrogramSettings:
    """Settings of a content's log-mel spectrogram.

    Args:
        sample_rate: sample rate to which sound is resampled, in Hz.
        n_fft: length of the Fourier transform's window, in samples.
        hop_length: distance between frames, in samples.
        n_mels: number of mel bands.
        record_s: length of the record kept of a content, in seconds: the middle of longer sound; shorter sound is
            repeated.
        num_crops: number of stretches of longer sound, spread evenly over it, that make up a record: each has
            record_s / num_crops seconds, and their frames are concatenated.

    Raises:
        UserError: a value is out of range, or the crops do not fill a record evenly.
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
        """Number of frames in one record."""
        return int(self.record_s * self.sample_rate) // self.hop_length

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings for a manifest.

        `num_crops` is left out if it is 1, so that digests of stores from before it existed stay the same.
        """
        values = asdict(self)
        if self.num_crops == 1:
            del values["num_crops"]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """Settings of positive events, and of the columns that the towers read.

    Args:
        min_played_fraction: smallest played share of the duration with which a play is positive, 0 to 1; a play of
            unknown length is positive, and so are likes and saves.
        content_parts: metadata that the content tower reads, from `CONTENT_PARTS`.
        user_columns: columns of users/ that the user tower reads, as categories.
        spectrogram: settings of the spectrograms.
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
        """Returns the settings for a manifest."""
        return {**asdict(self), "spectrogram": self.spectrogram.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FeatureSettings":
        """Restores settings from the output of `to_dict`, also after a round trip through JSON."""
        return cls(
            min_played_fraction=values["min_played_fraction"],
            content_parts=tuple(values["content_parts"]),
            user_columns=tuple(values["user_columns"]),
            spectrogram=SpectrogramSettings(**values["spectrogram"]),
        )
