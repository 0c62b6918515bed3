"""A compact convolutional encoder of the MobileNet family."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import hardswish

from towers.errors import require_counts
from towers.models.audio.augmentation import Augmentation
from towers.models.audio.encoder import (
    SoundStatistics,
    SpectrogramEncoder,
    StatisticsPath,
    mean_and_std,
    network_out,
)


class MobileAudioEncoder(SpectrogramEncoder):
    """Inverted residual blocks over mel bands and time, pooled by mean and deviation over time.

    Blocks are MobileNetV2's (Sandler et al. 2018, arXiv 1801.04381, section 3.3) with MobileNetV3's hard swish (Howard
    et al. 2019, arXiv 1905.02244, section 5.2); EfficientAT applies such a network to spectrograms (Schmid et al. 2023,
    arXiv 2211.04772). There are three differences: normalisation is over the channels of one sound (GroupNorm), so that
    its result does not depend on the batch; only time is pooled and bands stay separate, because pitch is not
    translation-invariant; and a linear path reads the mean and deviation of every mel band, as in `ConvAudioEncoder`.

    Args:
        statistics: statistics of the catalogue.
        dim: dimension of the vector.
        channels: number of channels of each stage. The stem before the first stage halves time and frequency, and so
            does every stage but the first.
        depths: number of blocks of each stage.
        expansions: channels within a block of each stage, in multiples of its input channels.
        kernel_size: size of the depthwise convolutions, odd.
        dropout: dropout probability before the last layer.
        augmentation: augmentation of the log-mel in training; null: none.

    Raises:
        ValueError: channels, depths and expansions differ in number, one is below 1, or the kernel size is even.
    """

    def __init__(
        self,
        statistics: SoundStatistics,
        dim: int,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        expansions: tuple[int, ...],
        kernel_size: int,
        dropout: float,
        augmentation: Augmentation | None = None,
    ):
        super().__init__(statistics, augmentation)
        require_counts(dim=dim)
        stages = {"channels": channels, "depths": depths, "expansions": expansions}
        if not channels or len({len(numbers) for numbers in stages.values()}) > 1:
            raise ValueError(f"{stages}: must be of equal length, and not empty")
        if min(*channels, *depths, *expansions) < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"{stages} must be at least 1, kernel_size {kernel_size} odd")
        self.dim = dim
        n_mels = len(statistics.mean)
        self._stem = nn.Sequential(nn.Conv2d(1, channels[0], 3, stride=2, padding=1, bias=False), _norm(channels[0]))
        blocks, bands = [], -(-n_mels // 2)
        sizes = zip(pairwise((channels[0], *channels)), depths, expansions, strict=True)
        for stage, ((before, width), depth, expansion) in enumerate(sizes):
            stride = 2 if stage else 1
            blocks.append(InvertedResidual(before, width, stride, expansion, kernel_size))
            blocks += [InvertedResidual(width, width, 1, expansion, kernel_size) for _ in range(depth - 1)]
            bands = -(-bands // stride)
        self._blocks = nn.Sequential(*blocks)
        self._network_out = network_out(2 * channels[-1] * bands, dim, dropout)
        self._statistics_out = StatisticsPath(statistics, dim)
        # The channels-last layout takes a quarter less time on a CPU, with the same results.
        # Torch's annotations lack the call of `to` with only a memory format.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """Returns vectors that are not normalised; takes any number of frames."""
        normalised = self.normalised(spectrograms)
        features = self._blocks(hardswish(self._stem(normalised[:, None]))).flatten(1, 2)
        return self._network_out(mean_and_std(features)) + self._statistics_out(normalised)


class InvertedResidual(nn.Module):
    """Inverted residual block: expansion to more channels, a depthwise convolution, and a linear projection to fewer.

    The input is added to the output if the stride is 1 and the numbers of channels are equal.

    Args:
        before: number of input channels.
        width: number of output channels.
        stride: stride of the depthwise convolution; 2 halves time and frequency.
        expansion: inner channels, in multiples of `before`; 1 omits the first convolution.
        kernel_size: size of the depthwise convolution, odd.
    """

    def __init__(self, before: int, width: int, stride: int, expansion: int, kernel_size: int):
        super().__init__()
        within = expansion * before
        self._is_residual = stride == 1 and before == width
        self._expand = (
            nn.Sequential(nn.Conv2d(before, within, 1, bias=False), _norm(within), nn.Hardswish())
            if expansion > 1
            else nn.Identity()
        )
        self._depthwise = nn.Sequential(
            nn.Conv2d(within, within, kernel_size, stride, padding=kernel_size // 2, groups=within, bias=False),
            _norm(within),
            nn.Hardswish(),
        )
        self._project = nn.Sequential(nn.Conv2d(within, width, 1, bias=False), _norm(width))

    def forward(self, x: Float[Tensor, "sounds before bands frames"]) -> Float[Tensor, "sounds width b f"]:
        """Returns the feature maps after the block."""
        added = self._project(self._depthwise(self._expand(x)))
        return x + added if self._is_residual else added


def _norm(channels: int) -> nn.GroupNorm:
    """Builds a norm over all channels of one sound; BatchNorm would depend on the rest of the batch."""
    return nn.GroupNorm(1, channels)
