"""Log-mel spectrogram to vector. Knows nothing of contents, listeners or files."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AudioEncoder(nn.Module):
    """Log-mel `[sounds, n_mels, frames]` to vectors `[sounds, dim]`."""

    dim: int


class NoAudioEncoder(AudioEncoder):
    """Does without sound: vectors of no dimension.

    Args:
        mean: not used; every encoder is built from the statistics of the catalogue.
        std: not used.
    """

    dim = 0

    def __init__(self, mean: Float[Tensor, " n_mels"], std: Float[Tensor, " n_mels"]):
        super().__init__()

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds 0"]:
        """An empty vector for every sound."""
        return spectrograms.new_zeros(len(spectrograms), 0)


class ConvAudioEncoder(AudioEncoder):
    """A small convolutional network over mel bands and time, pooled by mean and deviation over time.

    Beside the network a linear path reads the mean and deviation of every mel band: what simple statistics know is
    there from the first step, and the network adds to it.

    Args:
        mean: `[n_mels]`, of the log-mel over the training contents.
        std: `[n_mels]`, likewise.
        dim: of the vector.
        channels: of the stages; each halves time, and the first three halve frequency.
        dropout: before the last layer.
    """

    def __init__(
        self,
        mean: Float[Tensor, " n_mels"],
        std: Float[Tensor, " n_mels"],
        dim: int,
        channels: tuple[int, ...],
        dropout: float,
    ):
        super().__init__()
        self.dim = dim
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        n_mels = len(mean)
        stages, before, bands = [], 1, n_mels
        for stage, width in enumerate(channels):
            stride = (2, 2) if stage < 3 else (1, 2)
            stages.append(_Stage(before, width, stride))
            before, bands = width, -(-bands // stride[0])
        self._stages = nn.Sequential(*stages)
        pooled = 2 * before * bands
        self._network_out = nn.Sequential(nn.LayerNorm(pooled), nn.Dropout(dropout), nn.Linear(pooled, dim))
        self._statistics_out = nn.Sequential(nn.LayerNorm(2 * n_mels), nn.Linear(2 * n_mels, dim))

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """Not normalised; any number of frames from eight on."""
        normalised = (spectrograms - self.mean[:, None]) / self.std[:, None]
        features = self._stages(normalised[:, None]).flatten(1, 2)
        return self._network_out(_mean_and_std(features)) + self._statistics_out(_mean_and_std(normalised))


class _Stage(nn.Module):
    """A strided 3 x 3 convolution, normalised over channels so that a batch of one sound works like any other."""

    def __init__(self, before: int, width: int, stride: tuple[int, int]):
        super().__init__()
        self._convolution = nn.Conv2d(before, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self._norm = nn.GroupNorm(1, width)

    def forward(self, x: Float[Tensor, "sounds before bands frames"]) -> Float[Tensor, "sounds width b f"]:
        return nn.functional.gelu(self._norm(self._convolution(x)))


def _mean_and_std(x: Float[Tensor, "sounds features frames"]) -> Float[Tensor, "sounds twice"]:
    return torch.cat([x.mean(dim=-1), x.std(dim=-1, correction=0)], dim=-1)
