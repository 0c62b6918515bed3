"""Sound to log-mel spectrograms: the one module that imports torchaudio.

torchaudio's compiled extension links CUDA in every wheel, so beside a CPU build of torch `import torchaudio` fails,
although the transforms used here are pure PyTorch. Where torch has neither CUDA nor ROCm, an empty stand-in takes
the extension's place; nothing that is called here needs it.
"""

import math
import sys
import types
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.features.settings import SpectrogramSettings


def _stand_in_for_extension() -> None:
    extension = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    extension.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
    sys.modules["torchaudio._extension"] = extension


if torch.version.cuda is None and torch.version.hip is None:
    _stand_in_for_extension()

from torchaudio.functional import resample  # noqa: E402  (the stand-in has to come first)
from torchaudio.transforms import MelSpectrogram  # noqa: E402

FRONT_END = 1
"""Counts up whenever the same sound and settings give another record than before."""
FLOOR = 1e-6
"""Added to the mel power before the logarithm: about -60 dB below a full-scale tone."""
MIN_SOUND_S = 0.1
SILENCE = 1e-4
MAX_KERNEL = 1 << 20
"""torchaudio keeps a filter for every phase between two rates: 0.3 MB from 44,100 to 16,000 Hz, 11 GB from 44,101."""


class UnusableSound(Exception):
    """A file that cannot become a spectrogram; the message is the reason."""


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

    def forward(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch n_mels frames"]:
        """Natural logarithm of the mel power plus `FLOOR`."""
        return torch.log(self._mel(waveform) + FLOOR)


def read_waveform(path: Path, settings: SpectrogramSettings) -> Float[Tensor, " samples"]:
    """Decodes the middle `record_s` seconds, mixes to mono, resamples.

    Raises:
        UnusableSound: the file does not decode, is too short, silent or not finite.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            wanted = round(settings.record_s * rate)
            if 0 < wanted < file.frames:
                file.seek((file.frames - wanted) // 2)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise UnusableSound(f"does not decode: {' '.join(str(error).split())}") from error
    mono = samples.mean(axis=1)
    if len(mono) < MIN_SOUND_S * rate:
        raise UnusableSound(f"too short: {len(mono) / rate:.3f} s")
    if not np.isfinite(mono).all():
        raise UnusableSound("has samples that are not finite")
    if np.abs(mono).max() < SILENCE:
        raise UnusableSound("silent")
    return _resampled(mono, rate, settings.sample_rate)


def _resampled(mono: Float[np.ndarray, " samples"], rate: int, new_rate: int) -> Float[Tensor, " samples_after"]:
    if rate * new_rate // math.gcd(rate, new_rate) ** 2 > MAX_KERNEL:
        return torch.from_numpy(soxr.resample(mono, rate, new_rate))
    return resample(torch.from_numpy(mono), rate, new_rate)


def spectrogram_of(path: Path, log_mel: LogMel, settings: SpectrogramSettings) -> Float[np.ndarray, "n_mels frames"]:
    """The record of one file, float16, of exactly `settings.num_frames` frames.

    Raises:
        UnusableSound: as `read_waveform`.
    """
    waveform = read_waveform(path, settings)
    samples = settings.num_frames * settings.hop_length
    if len(waveform) < samples:
        waveform = waveform.repeat(-(-samples // len(waveform)))
    mel = log_mel(waveform[:samples])[:, : settings.num_frames]
    if not torch.isfinite(mel).all():
        raise UnusableSound("so loud that its power is not finite")
    return mel.numpy().astype(np.float16)
