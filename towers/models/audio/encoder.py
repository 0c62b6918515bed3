"""Audio encoders from log-mel spectrograms to vectors. They are independent of contents, listeners and files.

This module has the base class, small encoders and shared layers; larger encoders have their own modules beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.errors import require_counts
from towers.features.sounds import Sounds
from towers.models.audio.augmentation import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStatistics:
    """Statistics of a catalogue's sound, over the contents seen in training.

    Args:
        mean: `[n_mels]`, mean of the log-mel over all frames.
        std: `[n_mels]`, standard deviation of the log-mel over all frames.
        sound_mean: `[2 n_mels]`, mean over sounds of every normalised band's mean and deviation over time.
        sound_std: `[2 n_mels]`, standard deviation over sounds of these.
    """

    mean: Float[Tensor, " n_mels"]
    std: Float[Tensor, " n_mels"]
    sound_mean: Float[Tensor, " statistics"]
    sound_std: Float[Tensor, " statistics"]

    @classmethod
    def of_none(cls, n_mels: int) -> "SoundStatistics":
        """Returns neutral statistics, which leave a log-mel unchanged."""
        return cls(
            mean=torch.zeros(n_mels), std=torch.ones(n_mels),
            sound_mean=torch.zeros(2 * n_mels), sound_std=torch.ones(2 * n_mels),
        )  # fmt: skip


Made = TypeVar("Made", covariant=True)


@runtime_checkable  # for the tests, which check annotations at run time
class Ears(Protocol[Made]):
    """Visitor of encoders: makes an object that depends on the type of input that an encoder reads."""

    def of_spectrograms(self, encoder: "AudioEncoder") -> Made:
        """Makes the object for an encoder of log-mel spectrograms."""
        ...

    def of_vectors(self, encoder: "AudioEncoder") -> Made:
        """Makes the object for an encoder of existing audio embeddings, whose records have one frame."""
        ...

    def of_nothing(self, encoder: "AudioEncoder") -> Made:
        """Makes the object for an encoder without input."""
        ...

    def of_several(self, encoder: "AudioEncoder", parts: "Sequence[AudioEncoder]") -> Made:
        """Makes the object for a joint encoder, whose records contain those of all its parts side by side."""
        ...


class AudioEncoder(nn.Module):
    """Base class of encoders from log-mel `[sounds, n_mels, frames]` to vectors `[sounds, dim]`.

    A sound's vector does not depend on the rest of the batch. An encoder without parameters is not trained: its vectors
    are computed once, from the whole records.
    """

    dim: int
    learns: bool = True
    """True if the encoder has parameters."""
    is_standardised: bool = False
    """True if the vectors have mean 0 and deviation 1 over the catalogue."""

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> Sounds | None:
        """Returns the records to encode; null if there are none.

        Args:
            content_ids: `[contents]`, content ids by row, as text.
            spectrograms: spectrograms of the store; null if it has none.
        """
        return spectrograms

    def heard_through(self, ears: Ears[Made]) -> Made:
        """Returns what `ears` makes for this encoder's type of input."""
        return ears.of_spectrograms(self)

    @classmethod
    def fingerprints(cls, **settings: Any) -> tuple[str, ...]:
        """Returns the digests of files on which the vectors depend, beside the settings and the store."""
        return ()

    @classmethod
    def would_learn(cls, **settings: Any) -> bool:
        """Returns whether an encoder with these settings has parameters."""
        return cls.learns


class NoAudioEncoder(AudioEncoder):
    """Encoder for models without sound; its vectors have dimension 0.

    Args:
        statistics: statistics of the catalogue, not used.
    """

    dim = 0
    learns = False

    def __init__(self, statistics: SoundStatistics):
        super().__init__()

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> None:
        """Returns null, as there are no records."""
        return

    def heard_through(self, ears: Ears[Made]) -> Made:
        """Returns what `ears` makes for an encoder without input."""
        return ears.of_nothing(self)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds 0"]:
        """Returns an empty vector for every sound."""
        return spectrograms.new_zeros(len(spectrograms), 0)


class SpectrogramEncoder(AudioEncoder):
    """Base class of encoders that read log-mel spectrograms, standardised by the catalogue's mean and deviation.

    Args:
        statistics: statistics of the catalogue.
        augmentation: augmentation of the log-mel in training; null: none.
    """

    def __init__(self, statistics: SoundStatistics, augmentation: Augmentation | None):
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", statistics.mean.clone())
        self.register_buffer("std", statistics.std.clone())
        self._augmentation = Augmentation() if augmentation is None else augmentation

    def normalised(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds n_mels frames"]:
        """Returns the network's input: mean 0 and deviation 1 over the catalogue, augmented in training."""
        return (self._augmentation(spectrograms, self.mean) - self.mean[:, None]) / self.std[:, None]


class StatisticsAudioEncoder(SpectrogramEncoder):
    """Mean and deviation over time of every mel band, standardised over the catalogue, without parameters.

    It is the baseline of the other encoders: the same towers on fixed statistics, which the content tower's first layer
    reads.

    Args:
        statistics: statistics of the catalogue.
    """

    learns = False
    is_standardised = True

    def __init__(self, statistics: SoundStatistics):
        super().__init__(statistics, None)
        self.dim = 2 * len(statistics.mean)
        self._standardise = Standardise(statistics)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds statistics"]:
        """Returns means of all bands, then deviations; takes any number of frames."""
        return self._standardise(mean_and_std(self.normalised(spectrograms)))


class ConvAudioEncoder(SpectrogramEncoder):
    """A small convolutional network over mel bands and time, pooled by mean and deviation over time.

    A linear path beside the network reads the mean and deviation of every mel band, so that these simple statistics are
    available from the first step, and the network adds to them.

    Args:
        statistics: statistics of the catalogue.
        dim: dimension of the vector.
        channels: number of channels of each stage; each halves time, and the first three halve frequency.
        dropout: dropout probability before the last layer.
        augmentation: augmentation of the log-mel in training; null: none.
    """

    def __init__(
        self,
        statistics: SoundStatistics,
        dim: int,
        channels: tuple[int, ...],
        dropout: float,
        augmentation: Augmentation | None = None,
    ):
        super().__init__(statistics, augmentation)
        require_counts(dim=dim, channels=min(channels, default=0))
        self.dim = dim
        n_mels = len(statistics.mean)
        stages, before, bands = [], 1, n_mels
        for stage, width in enumerate(channels):
            stride = (2, 2) if stage < 3 else (1, 2)
            stages.append(_Stage(before, width, stride))
            before, bands = width, -(-bands // stride[0])
        self._stages = nn.Sequential(*stages)
        self._network_out = network_out(2 * before * bands, dim, dropout)
        self._statistics_out = StatisticsPath(statistics, dim)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """Returns vectors that are not normalised; takes at least eight frames."""
        normalised = self.normalised(spectrograms)
        features = self._stages(normalised[:, None]).flatten(1, 2)
        return self._network_out(mean_and_std(features)) + self._statistics_out(normalised)


class _Stage(nn.Module):
    """A strided 3 x 3 convolution with GroupNorm, so that a sound's result does not depend on the batch."""

    def __init__(self, before: int, width: int, stride: tuple[int, int]):
        super().__init__()
        self._convolution = nn.Conv2d(before, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self._norm = nn.GroupNorm(1, width)

    def forward(self, x: Float[Tensor, "sounds before bands frames"]) -> Float[Tensor, "sounds width b f"]:
        return nn.functional.gelu(self._norm(self._convolution(x)))


class Standardise(nn.Module):
    """Standardises the mean and deviation of every mel band over the catalogue.

    LayerNorm would instead normalise within a sound, and lose how loud and steady it is.

    Args:
        statistics: statistics of the catalogue.
    """

    def __init__(self, statistics: SoundStatistics):
        super().__init__()
        self.sound_mean: Tensor
        self.sound_std: Tensor
        self.register_buffer("sound_mean", statistics.sound_mean.clone())
        self.register_buffer("sound_std", statistics.sound_std.clone())

    def forward(self, statistics: Float[Tensor, "sounds statistics"]) -> Float[Tensor, "sounds statistics"]:
        """Returns statistics with mean 0 and deviation 1 over the catalogue."""
        return (statistics - self.sound_mean) / self.sound_std


class StatisticsPath(nn.Sequential):
    """A linear layer on the mean and deviation of every mel band, beside an encoder's network.

    Args:
        statistics: statistics of the catalogue.
        dim: dimension of the vector.
    """

    def __init__(self, statistics: SoundStatistics, dim: int):
        super().__init__(Standardise(statistics), nn.Linear(len(statistics.sound_mean), dim))

    def forward(self, input: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """Returns the vectors to add to the network's output, from the normalised log-mel."""
        return super().forward(mean_and_std(input))


def network_out(features: int, dim: int, dropout: float) -> nn.Sequential:
    """Builds the last layer, from a network's pooled features to the vector."""
    return nn.Sequential(nn.LayerNorm(features), nn.Dropout(dropout), nn.Linear(features, dim))


def mean_and_std(x: Float[Tensor, "sounds features frames"]) -> Float[Tensor, "sounds twice"]:
    """Returns means, then deviations, over time; a deviation of 0 has gradient 0."""
    return torch.cat([x.mean(dim=-1), x.std(dim=-1, correction=0)], dim=-1)
