"""Log-mel spectrogram to vector. Knows nothing of contents, listeners or files.

Here stand the protocol and what encoders are put together from; larger ones have modules of their own beside this one.
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
    """What a catalogue sounds like, over the contents that training has seen.

    Args:
        mean: `[n_mels]`, of the log-mel over all frames.
        std: `[n_mels]`, likewise.
        sound_mean: `[2 n_mels]`, over sounds, of the mean and deviation over time of every normalised band.
        sound_std: `[2 n_mels]`, likewise.
    """

    mean: Float[Tensor, " n_mels"]
    std: Float[Tensor, " n_mels"]
    sound_mean: Float[Tensor, " statistics"]
    sound_std: Float[Tensor, " statistics"]

    @classmethod
    def of_none(cls, n_mels: int) -> "SoundStatistics":
        """Which leave a log-mel as it is."""
        return cls(
            mean=torch.zeros(n_mels), std=torch.ones(n_mels),
            sound_mean=torch.zeros(2 * n_mels), sound_std=torch.ones(2 * n_mels),
        )  # fmt: skip


Made = TypeVar("Made", covariant=True)


@runtime_checkable  # for the tests, which check annotations at run time
class Ears(Protocol[Made]):
    """Makes something for an encoder that depends on what it reads."""

    def of_spectrograms(self, encoder: "AudioEncoder") -> Made:
        """For one that reads log-mel spectrograms."""
        ...

    def of_vectors(self, encoder: "AudioEncoder") -> Made:
        """For one that reads vectors which were made elsewhere, as records of one frame."""
        ...

    def of_nothing(self, encoder: "AudioEncoder") -> Made:
        """For one that reads nothing."""
        ...

    def of_several(self, encoder: "AudioEncoder", parts: "Sequence[AudioEncoder]") -> Made:
        """Makes it for an encoder that joins several, whose records hold those of all its parts side by side."""
        ...


class AudioEncoder(nn.Module):
    """Log-mel `[sounds, n_mels, frames]` to vectors `[sounds, dim]`.

    A sound's vector does not depend on what else is in the batch. An encoder without parameters is never trained: its
    vectors are made once, from the whole records.
    """

    dim: int
    learns: bool = True
    """Whether it has parameters."""
    is_standardised: bool = False
    """Whether its vectors have mean 0 and deviation 1 over the catalogue."""

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> Sounds | None:
        """The records to encode; null where there are none.

        Args:
            content_ids: `[contents]`, text, by row.
            spectrograms: of the store; null where it has none.
        """
        return spectrograms

    def heard_through(self, ears: Ears[Made]) -> Made:
        """What `ears` makes for an encoder that reads what this one reads."""
        return ears.of_spectrograms(self)

    @classmethod
    def fingerprints(cls, **settings: Any) -> tuple[str, ...]:
        """Digests of the files that the vectors depend on, beside the settings and the store."""
        return ()

    @classmethod
    def would_learn(cls, **settings: Any) -> bool:
        """Whether an encoder with these settings has parameters."""
        return cls.learns


class NoAudioEncoder(AudioEncoder):
    """Does without sound: vectors of no dimension.

    Args:
        statistics: not used; every encoder is built with those of the catalogue.
    """

    dim = 0
    learns = False

    def __init__(self, statistics: SoundStatistics):
        super().__init__()

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> None:
        """Nothing."""
        return

    def heard_through(self, ears: Ears[Made]) -> Made:
        """As one that reads nothing."""
        return ears.of_nothing(self)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds 0"]:
        """An empty vector for every sound."""
        return spectrograms.new_zeros(len(spectrograms), 0)


class SpectrogramEncoder(AudioEncoder):
    """Reads log-mel spectrograms, less the mean of the catalogue and divided by its deviation.

    Args:
        statistics: of the catalogue.
        augmentation: of the log-mel in training; null: none.
    """

    def __init__(self, statistics: SoundStatistics, augmentation: Augmentation | None):
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", statistics.mean.clone())
        self.register_buffer("std", statistics.std.clone())
        self._augmentation = Augmentation() if augmentation is None else augmentation

    def normalised(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds n_mels frames"]:
        """What the network sees: mean 0 and deviation 1 over the catalogue, augmented in training."""
        return (self._augmentation(spectrograms, self.mean) - self.mean[:, None]) / self.std[:, None]


class StatisticsAudioEncoder(SpectrogramEncoder):
    """Mean and deviation over time of every mel band, standardised over the catalogue, and nothing to train.

    The baseline of the other encoders: the same towers on frozen statistics. What is learnt of them stands in the
    content tower, whose first layer reads them.

    Args:
        statistics: of the catalogue.
    """

    learns = False
    is_standardised = True

    def __init__(self, statistics: SoundStatistics):
        super().__init__(statistics, None)
        self.dim = 2 * len(statistics.mean)
        self._standardise = Standardise(statistics)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds statistics"]:
        """Means of all bands, then deviations; any number of frames."""
        return self._standardise(mean_and_std(self.normalised(spectrograms)))


class ConvAudioEncoder(SpectrogramEncoder):
    """A small convolutional network over mel bands and time, pooled by mean and deviation over time.

    Beside the network a linear path reads the mean and deviation of every mel band: what simple statistics know is
    there from the first step, and the network adds to it.

    Args:
        statistics: of the catalogue.
        dim: of the vector.
        channels: of the stages; each halves time, and the first three halve frequency.
        dropout: before the last layer.
        augmentation: of the log-mel in training; null: none.
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
        """Not normalised; any number of frames from eight on."""
        normalised = self.normalised(spectrograms)
        features = self._stages(normalised[:, None]).flatten(1, 2)
        return self._network_out(mean_and_std(features)) + self._statistics_out(normalised)


class _Stage(nn.Module):
    """A strided 3 x 3 convolution, normalised over channels so that a batch of one sound works like any other."""

    def __init__(self, before: int, width: int, stride: tuple[int, int]):
        super().__init__()
        self._convolution = nn.Conv2d(before, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self._norm = nn.GroupNorm(1, width)

    def forward(self, x: Float[Tensor, "sounds before bands frames"]) -> Float[Tensor, "sounds width b f"]:
        return nn.functional.gelu(self._norm(self._convolution(x)))


class Standardise(nn.Module):
    """Mean and deviation of every mel band, less what they are in the catalogue and divided by how they differ there.

    Not so within a sound, as LayerNorm would do it: how loud and how steady a sound is would be lost.

    Args:
        statistics: of the catalogue.
    """

    def __init__(self, statistics: SoundStatistics):
        super().__init__()
        self.sound_mean: Tensor
        self.sound_std: Tensor
        self.register_buffer("sound_mean", statistics.sound_mean.clone())
        self.register_buffer("sound_std", statistics.sound_std.clone())

    def forward(self, statistics: Float[Tensor, "sounds statistics"]) -> Float[Tensor, "sounds statistics"]:
        """Mean 0 and deviation 1 over the catalogue."""
        return (statistics - self.sound_mean) / self.sound_std


class StatisticsPath(nn.Sequential):
    """A linear layer on the mean and deviation of every mel band, beside an encoder's network.

    Args:
        statistics: of the catalogue.
        dim: of the vector.
    """

    def __init__(self, statistics: SoundStatistics, dim: int):
        super().__init__(Standardise(statistics), nn.Linear(len(statistics.sound_mean), dim))

    def forward(self, input: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """What is added to what the network says, from the normalised log-mel."""
        return super().forward(mean_and_std(input))


def network_out(features: int, dim: int, dropout: float) -> nn.Sequential:
    """From a network's pooled features to the vector."""
    return nn.Sequential(nn.LayerNorm(features), nn.Dropout(dropout), nn.Linear(features, dim))


def mean_and_std(x: Float[Tensor, "sounds features frames"]) -> Float[Tensor, "sounds twice"]:
    """Over time, means first; a deviation of zero has the gradient zero."""
    return torch.cat([x.mean(dim=-1), x.std(dim=-1, correction=0)], dim=-1)
