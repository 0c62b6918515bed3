"""Log-mel spectrogram to vector. Knows nothing of contents, listeners or files.

Here stand the protocol and what encoders are put together from; larger ones have modules of their own beside this one.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.models.augmentation import Augmentation
from towers.models.sounds import Sounds


class AudioEncoder(nn.Module):
    """Log-mel `[sounds, n_mels, frames]` to vectors `[sounds, dim]`.

    A sound's vector does not depend on what else is in the batch. An encoder without parameters is never trained: its
    vectors are made once, from the whole records.
    """

    dim: int

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> Sounds | None:
        """The records to encode; null where there are none.

        Args:
            content_ids: `[contents]`, text, by row.
            spectrograms: of the store; null where it has none.
        """
        return spectrograms

    @classmethod
    def fingerprints(cls, **settings: Any) -> tuple[str, ...]:
        """Of what the vectors depend on beside the settings and the store: digests of files."""
        return ()


class NoAudioEncoder(AudioEncoder):
    """Does without sound: vectors of no dimension.

    Args:
        mean: not used; every encoder is built from the statistics of the catalogue.
        std: not used.
    """

    dim = 0

    def __init__(self, mean: Float[Tensor, " n_mels"], std: Float[Tensor, " n_mels"]):
        super().__init__()

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> None:
        """Nothing."""
        return

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds 0"]:
        """An empty vector for every sound."""
        return spectrograms.new_zeros(len(spectrograms), 0)


class SpectrogramEncoder(AudioEncoder):
    """Reads log-mel spectrograms, less the mean of the catalogue and divided by its deviation.

    Args:
        mean: `[n_mels]`, of the log-mel over the training contents.
        std: `[n_mels]`, likewise.
        augmentation: of the log-mel in training; null: none.
    """

    def __init__(
        self, mean: Float[Tensor, " n_mels"], std: Float[Tensor, " n_mels"], augmentation: Augmentation | None
    ):
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self._augmentation = Augmentation() if augmentation is None else augmentation

    def normalised(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds n_mels frames"]:
        """What the network sees: mean 0 and deviation 1 over the catalogue, augmented in training."""
        return (self._augmentation(spectrograms, self.mean) - self.mean[:, None]) / self.std[:, None]


class StatisticsAudioEncoder(SpectrogramEncoder):
    """Mean and deviation over time of every mel band, and nothing to train: what hearing alone says.

    The baseline of the other encoders: the same towers on frozen statistics. What is learnt of them stands in the
    content tower, whose first layer reads them.

    Args:
        mean: `[n_mels]`, of the log-mel over the training contents.
        std: `[n_mels]`, likewise.
    """

    def __init__(self, mean: Float[Tensor, " n_mels"], std: Float[Tensor, " n_mels"]):
        super().__init__(mean, std, None)
        self.dim = 2 * len(mean)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds statistics"]:
        """Means of all bands, then deviations; any number of frames."""
        return mean_and_std(self.normalised(spectrograms))


class ConvAudioEncoder(SpectrogramEncoder):
    """A small convolutional network over mel bands and time, pooled by mean and deviation over time.

    Beside the network a linear path reads the mean and deviation of every mel band: what simple statistics know is
    there from the first step, and the network adds to it.

    Args:
        mean: `[n_mels]`, of the log-mel over the training contents.
        std: `[n_mels]`, likewise.
        dim: of the vector.
        channels: of the stages; each halves time, and the first three halve frequency.
        dropout: before the last layer.
        augmentation: of the log-mel in training; null: none.
    """

    def __init__(
        self,
        mean: Float[Tensor, " n_mels"],
        std: Float[Tensor, " n_mels"],
        dim: int,
        channels: tuple[int, ...],
        dropout: float,
        augmentation: Augmentation | None = None,
    ):
        super().__init__(mean, std, augmentation)
        self.dim = dim
        n_mels = len(mean)
        stages, before, bands = [], 1, n_mels
        for stage, width in enumerate(channels):
            stride = (2, 2) if stage < 3 else (1, 2)
            stages.append(_Stage(before, width, stride))
            before, bands = width, -(-bands // stride[0])
        self._stages = nn.Sequential(*stages)
        self._network_out = network_out(2 * before * bands, dim, dropout)
        self._statistics_out = StatisticsPath(n_mels, dim)

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


class StatisticsPath(nn.Sequential):
    """A linear layer on the mean and deviation of every mel band, beside an encoder's network.

    Args:
        n_mels: mel bands.
        dim: of the vector.
    """

    def __init__(self, n_mels: int, dim: int):
        super().__init__(nn.LayerNorm(2 * n_mels), nn.Linear(2 * n_mels, dim))

    def forward(self, input: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """What is added to what the network says, from the normalised log-mel."""
        return super().forward(mean_and_std(input))


def network_out(features: int, dim: int, dropout: float) -> nn.Sequential:
    """From a network's pooled features to the vector."""
    return nn.Sequential(nn.LayerNorm(features), nn.Dropout(dropout), nn.Linear(features, dim))


def mean_and_std(x: Float[Tensor, "sounds features frames"]) -> Float[Tensor, "sounds twice"]:
    """Over time, means first; a deviation of zero has the gradient zero."""
    return torch.cat([x.mean(dim=-1), x.std(dim=-1, correction=0)], dim=-1)
