"""Sound to log-mel spectrograms: the one module that imports torchaudio.

torchaudio's compiled extension links CUDA in every wheel, so beside a CPU build of torch `import torchaudio` fails,
although the transforms used here are pure PyTorch. Where torch has neither CUDA nor ROCm, an empty stand-in takes
the extension's place; nothing that is called here needs it.
"""

import math
import sys
import types
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn

from towers.features.settings import SpectrogramSettings
from towers.features.sound import MAX_KERNEL, TOO_LOUD, UnusableSound, read_stretches


def _stand_in_for_extension() -> None:
    extension = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    extension.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
    sys.modules["torchaudio._extension"] = extension


if torch.version.cuda is None and torch.version.hip is None:
    _stand_in_for_extension()

from torchaudio.transforms import MelSpectrogram, Resample  # noqa: E402  (the stand-in has to come first)

FLOOR = 1e-6
"""Added to the mel power before the logarithm: about -60 dB below a full-scale tone."""


class LogMel(nn.Module):
    """Waveform `[..., samples]` (float32, mono, at the settings' rate) to log-mel `[..., n_mels, frames]`."""

    def __init__(self, settings: SpectrogramSettings):
        super().__init__()
        self._mel = MelSpectrogram(
            sample_rate=settings.sample_rate,
            n_fft=settings.n_fft,
            hop_length=settings.hop_length,
            n_mels=settings.n_mels,
        )

    @property
    def window(self) -> Float[Tensor, " n_fft"]:
        """Returns the window that weights samples before the Fourier transform."""
        window = self._mel.spectrogram.window
        assert isinstance(window, Tensor)
        return window

    @property
    def mel_filters(self) -> Float[Tensor, "frequencies n_mels"]:
        """Returns the matrix from power by frequency to power by mel band."""
        filters = self._mel.mel_scale.fb
        assert isinstance(filters, Tensor)
        return filters

    def forward(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch n_mels frames"]:
        """Returns the natural logarithm of the mel power plus `FLOOR`."""
        return torch.log(self._mel(waveform) + FLOOR)


def read_crops(path: Path, settings: SpectrogramSettings) -> tuple[list[Float[Tensor, " _"]], str | None]:
    """Decodes the crops of a file that a record holds (see `read_stretches`), mixes them to mono and resamples them.

    Returns:
        The crops, and a remark if they are not the whole sound or not its mix, else null.

    Raises:
        UnusableSound: the file does not decode, is too short, silent or not finite.
    """
    stretches = read_stretches(path, settings)
    crops = [_resampled(mono, stretches.rate, settings.sample_rate) for mono in stretches.mono]
    return crops, stretches.remark


def _resampled(mono: Float[np.ndarray, " samples"], rate: int, new_rate: int) -> Float[Tensor, " samples_after"]:
    if rate * new_rate // math.gcd(rate, new_rate) ** 2 > MAX_KERNEL:
        return torch.from_numpy(soxr.resample(mono, rate, new_rate))
    return resampler(rate, new_rate)(torch.from_numpy(mono))


@lru_cache(maxsize=16)
def resampler(rate: int, new_rate: int) -> Resample:
    """Returns a resampler between two rates in Hz; cached, as its filter takes longer to make than to use."""
    return Resample(rate, new_rate, dtype=torch.float32)


def record_from(
    crops: Sequence[Float[Tensor, " _"]], log_mel: LogMel, settings: SpectrogramSettings
) -> Float16[np.ndarray, "n_mels frames"]:
    """Returns the record of one file, of exactly `settings.num_frames` frames: the log-mels of its crops, one after the
    other.

    Raises:
        UnusableSound: the power of the sound is not finite.
    """
    return log_mel_of(crops, log_mel, settings).numpy().astype(np.float16)


def log_mel_of(
    crops: Sequence[Float[Tensor, " _"]], log_mel: LogMel, settings: SpectrogramSettings
) -> Float[Tensor, "n_mels frames"]:
    """Returns a record before it is rounded to float16, in the precision of the crops; raises as `record_from`."""
    frames = settings.num_frames // len(crops)
    mel = torch.cat([_frames_of(crop, log_mel, frames, settings.hop_length) for crop in crops], dim=-1)
    if not torch.isfinite(mel).all():
        raise UnusableSound(TOO_LOUD)
    return mel


def _frames_of(
    waveform: Float[Tensor, " samples"], log_mel: LogMel, frames: int, hop_length: int
) -> Float[Tensor, "n_mels frames"]:
    """Returns exactly `frames` frames of log-mel; sound that is too short for them is repeated."""
    samples = frames * hop_length
    whole, rest = divmod(samples, len(waveform))
    if whole < 1 or (whole == 1 and not rest):
        repeated = waveform[:samples]
    else:
        repeated = torch.cat([waveform] * whole + [waveform[:rest]])
    return log_mel(repeated)[:, :frames]
