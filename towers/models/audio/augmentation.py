"""Changes to a log-mel spectrogram that leave the piece what it is, drawn anew for every sound of every step."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

DB = math.log(10) / 10
"""A decibel of power, in the natural logarithm of the log-mel."""


class Augmentation(nn.Module):
    """Gain, noise and masks, in training alone; what is 0 is off, and the defaults are all 0.

    Masks are SpecAugment's (Park et al. 2019, arXiv 1904.08779, section 2, without the time warp) and put the mean of
    the catalogue where they lie. Mixup is left out: a vector has to be one content's, and a mixture of two pieces has
    no place in the space to learn. Numbers come from torch's default generator of the sound's device, which a run
    seeds anew in every step, so that one that was stopped goes on with the same.

    Args:
        gain_db: a sound grows louder or softer by at most so many decibels.
        noise: greatest power of added noise, as a share of the sound's mean power. It is the same in all mel bands,
            which is near pink noise, and its cells fluctuate as those of Gaussian noise do.
        time_masks: stretches of time that are hidden.
        time_mask_frames: longest of each, in frames; half of the sound at most.
        frequency_masks: ranges of frequency that are hidden.
        frequency_mask_bands: widest of each, in mel bands; half of them at most.

    Raises:
        ValueError: a negative number.
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
        """Spectrograms, changed at random in training; the tensor itself where nothing is to change.

        Args:
            spectrograms: natural logarithm of the mel power.
            mean: of the catalogue.
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
    """A number from 0 to 1 for every sound."""
    return torch.rand((len(x), 1, 1), device=x.device)


def _log_noise(x: Float[Tensor, "sounds n_mels frames"], share: float) -> Float[Tensor, "sounds n_mels frames"]:
    """Logarithm of the noise's power, whose mean is at most `share` of the sound's.

    The power of a band of Gaussian noise is exponentially distributed; the logarithm of a share of 0 is -inf, which
    adds nothing.
    """
    cells = math.log(x.shape[1] * x.shape[2])
    mean_power = torch.logsumexp(x.flatten(1), dim=1)[:, None, None] - cells
    return mean_power + torch.log(share * _uniform(x)) + torch.log(torch.empty_like(x).exponential_())


def _masked(x: Float[Tensor, "sounds n_mels frames"], size: int, widest: int) -> Bool[Tensor, "sounds size"]:
    """One stretch of `size` places for every sound: its width uniform from 0 to `widest`, then its start."""
    width = (_uniform(x)[:, 0] * (min(widest, size // 2) + 1)).floor()
    start = (_uniform(x)[:, 0] * (size - width + 1)).floor()
    place = torch.arange(size, device=x.device)
    return (place >= start) & (place < start + width)
