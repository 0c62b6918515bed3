"""Random augmentations of log-mel spectrograms, drawn for every sound of every step."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

DB = math.log(10) / 10
"""A decibel of power, in the natural logarithm of the log-mel."""


class Augmentation(nn.Module):
    """Random gain, noise and masks, in training only; a setting of 0 turns one off, and all are 0 by default.

    Masks are those of SpecAugment (Park et al. 2019, arXiv 1904.08779, section 2, without the time warp); masked cells
    get the mean of the catalogue. There is no mixup, because a vector belongs to one content, and a mixture of two has
    no target in the space. Random numbers come from torch's default generator of the sound's device, which a run seeds
    in every step, so that a resumed run draws the same numbers.

    Args:
        gain_db: largest change of loudness in either direction, in decibels.
        noise: largest power of added noise, as a share of the sound's mean power. The noise has the same mean power in
            all mel bands, which is close to pink noise, and fluctuates like Gaussian noise.
        time_masks: number of masked stretches of time.
        time_mask_frames: largest length of a time mask, in frames; at most half of the sound.
        frequency_masks: number of masked ranges of frequency.
        frequency_mask_bands: largest width of a frequency mask, in mel bands; at most half of them.

    Raises:
        ValueError: a number is negative or not finite.
    """

    def __init__(
        self,
        gain_db: float = 0.0,
        noise: float = 0.0,
        time_masks: int = 0,
        time_mask_frames: int = 0,
        frequency_masks: int = 0,
        frequency_mask_bands: int = 0,
    ):
        super().__init__()
        numbers = {
            "gain_db": gain_db, "noise": noise, "time_masks": time_masks, "time_mask_frames": time_mask_frames,
            "frequency_masks": frequency_masks, "frequency_mask_bands": frequency_mask_bands,
        }  # fmt: skip
        for name, number in numbers.items():
            if not 0 <= number < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {number}")
        self._gain_db = gain_db
        self._noise = noise
        self._time_masks = time_masks if time_mask_frames else 0
        self._time_mask_frames = time_mask_frames
        self._frequency_masks = frequency_masks if frequency_mask_bands else 0
        self._frequency_mask_bands = frequency_mask_bands

    def forward(
        self, spectrograms: Float[Tensor, "sounds n_mels frames"], mean: Float[Tensor, " n_mels"]
    ) -> Float[Tensor, "sounds n_mels frames"]:
        """Returns spectrograms with random changes in training; the tensor itself if nothing changes.

        Args:
            spectrograms: natural logarithm of the mel power.
            mean: mean of the catalogue.
        """
        if not self.training:
            return spectrograms
        x = spectrograms
        if self._noise:
            x = torch.logaddexp(x, _log_noise(x, self._noise))
        if self._gain_db:
            x = x + (2 * _uniform(x) - 1) * (self._gain_db * DB)
        _, n_mels, frames = x.shape
        for _ in range(self._time_masks):
            x = torch.where(_masked(x, frames, self._time_mask_frames)[:, None, :], mean[:, None], x)
        for _ in range(self._frequency_masks):
            x = torch.where(_masked(x, n_mels, self._frequency_mask_bands)[:, :, None], mean[:, None], x)
        return x


def _uniform(x: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds 1 1"]:
    """Draws a number from 0 to 1 for every sound."""
    return torch.rand((len(x), 1, 1), device=x.device)


def _log_noise(x: Float[Tensor, "sounds n_mels frames"], share: float) -> Float[Tensor, "sounds n_mels frames"]:
    """Draws the logarithm of the noise's power, whose mean is at most `share` of the sound's.

    The power of a band of Gaussian noise is exponentially distributed. The logarithm of a share of 0 is -inf, which
    adds nothing.
    """
    cells = math.log(x.shape[1] * x.shape[2])
    mean_power = torch.logsumexp(x.flatten(1), dim=1)[:, None, None] - cells
    return mean_power + torch.log(share * _uniform(x)) + torch.log(torch.empty_like(x).exponential_())


def _masked(x: Float[Tensor, "sounds n_mels frames"], size: int, widest: int) -> Bool[Tensor, "sounds size"]:
    """Draws a mask of one stretch among `size` places for every sound: a uniform width up to `widest`, then a start."""
    width = (_uniform(x)[:, 0] * (min(widest, size // 2) + 1)).floor()
    start = (_uniform(x)[:, 0] * (size - width + 1)).floor()
    place = torch.arange(size, device=x.device)
    return (place >= start) & (place < start + width)
