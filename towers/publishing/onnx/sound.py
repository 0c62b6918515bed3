"""Front ends of an exported content tower, within its graph: a waveform, a vector made elsewhere, both, or nothing.

batch: contents. samples: number of samples of the longest waveform; the others are padded on the right. An encoder
chooses its front end by itself (`AudioEncoder.heard_through`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import conv1d

from towers.data.audio.log_mel import FLOOR, LogMel
from towers.features.settings import SpectrogramSettings
from towers.models.audio.encoder import AudioEncoder
from towers.models.audio.joined import JoinedAudioEncoder
from towers.retrieval.content_encoder import AUDIO_VECTOR, HAS_AUDIO, NUM_SAMPLES, WAVEFORM


class FrontEnd(nn.Module):
    """Maps a graph's inputs to audio vectors `[batch, audio_dim]` and whether there is sound, `[batch]`.

    This one has no inputs: it is for an encoder that does without sound.

    Args:
        encoder: audio encoder of the network.
    """

    inputs: tuple[str, ...] = ()
    """Names of the graph's inputs that it reads."""

    def __init__(self, encoder: AudioEncoder):
        super().__init__()
        self._encoder = encoder

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Returns example inputs."""
        return ()

    def dynamic(self, batch: Any) -> tuple[dict[int, Any], ...]:
        """Returns the dynamic dimensions of the inputs."""
        return ()

    def metadata(self) -> dict[str, str]:
        """Returns what a reader has to know of the inputs."""
        return {}

    def forward(self, batch: int, *inputs: Tensor) -> tuple[Float[Tensor, "batch audio_dim"], Bool[Tensor, " batch"]]:
        """Returns the audio vectors of `batch` contents."""
        return torch.zeros(batch, self._encoder.dim), torch.zeros(batch, dtype=torch.bool)


class WaveformFrontEnd(FrontEnd):
    """Reads waveforms at the model's rate, mono, and the number of samples of each, 0 where there is none.

    The graph makes from a waveform the record that `towers.data.audio.log_mel` makes from a file with it, rounded to
    float16 in the same way: the middles of equal stretches where it is longer than a record, repeated where it is
    shorter, and then the log-mel. The samples to read follow from their number; a convolution with the windowed Fourier
    transform does the rest.

    Args:
        encoder: encoder of log-mel spectrograms.
        settings: settings of the spectrogram.
    """

    inputs = (WAVEFORM, NUM_SAMPLES)

    def __init__(self, encoder: AudioEncoder, settings: SpectrogramSettings):
        super().__init__(encoder)
        self._settings = settings
        self._wanted = round(settings.record_s * settings.sample_rate)
        log_mel = LogMel(settings)
        self._whole: Tensor
        self._cut: Tensor
        self._fourier: Tensor
        self._mel: Tensor
        self.register_buffer("_whole", _places(settings, settings.num_frames))
        self.register_buffer("_cut", _places(settings, settings.num_frames // settings.num_crops))
        self.register_buffer("_fourier", _windowed_fourier(log_mel.window))
        self.register_buffer("_mel", log_mel.mel_filters)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Returns noise of half a second."""
        samples = self._settings.sample_rate // 2
        return torch.randn(batch, samples), torch.full((batch,), samples)

    def dynamic(self, batch: Any) -> tuple[dict[int, Any], ...]:
        """Returns that any number of waveforms of any length is accepted."""
        return {0: batch, 1: torch.export.Dim("samples", min=1)}, {0: batch}

    def metadata(self) -> dict[str, str]:
        """Returns the waveforms' rate in Hz, the seconds of a record, and the number of crops read from longer
        sound."""
        names = ("sample_rate", "record_s", "num_crops")
        return {name: str(getattr(self._settings, name)) for name in names}

    def forward(self, batch: int, *inputs: Tensor) -> tuple[Float[Tensor, "batch audio_dim"], Bool[Tensor, " batch"]]:
        """Returns vectors of the records; other waveforms of the batch do not affect them."""
        waveform, num_samples = inputs
        crops = self._crops(waveform, num_samples)
        cosine, sine = conv1d(crops.flatten(0, 1)[:, None], self._fourier, stride=self._settings.hop_length).chunk(2, 1)
        mel = (cosine.square() + sine.square()).transpose(1, 2) @ self._mel
        record = torch.log(mel + FLOOR).view(-1, self._settings.num_frames, self._settings.n_mels).transpose(1, 2)
        return self._encoder(record.half().float()), num_samples > 0

    def _crops(
        self, waveform: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch crops crop_samples"]:
        """Returns the middles of stretches of longer sound, or repeats of shorter sound, as far as the windows
        reach."""
        num_crops = self._settings.num_crops
        length = -(-self._wanted // num_crops)
        count = num_samples[:, None]
        starts = (torch.arange(1, 2 * num_crops, 2) * count - num_crops * length).clamp(min=0) // (2 * num_crops)
        repeated = self._whole % count[:, :, None].clamp(min=1)
        places = torch.where(count[:, :, None] > self._wanted, starts[:, :, None] + self._cut, repeated)
        return waveform.gather(1, places.flatten(1)).view(-1, *self._cut.shape)


class VectorFrontEnd(FrontEnd):
    """Reads vectors that were made elsewhere, as the encoder does.

    Args:
        encoder: encoder of records of one frame.
    """

    inputs = (AUDIO_VECTOR, HAS_AUDIO)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Returns noise."""
        return torch.randn(batch, self._encoder.dim), torch.ones(batch, dtype=torch.bool)

    def dynamic(self, batch: Any) -> tuple[dict[int, Any], ...]:
        """Returns that any number of vectors is accepted."""
        return {0: batch}, {0: batch}

    def forward(self, batch: int, *inputs: Tensor) -> tuple[Float[Tensor, "batch audio_dim"], Bool[Tensor, " batch"]]:
        """Returns the encoder's output for the given vectors."""
        audio_vector, has_audio = inputs
        return self._encoder(audio_vector[:, :, None]), has_audio


class JoinedFrontEnd(FrontEnd):
    """Reads the inputs of the front ends of an encoder's parts; a content may have any of them.

    Args:
        encoder: encoder that joins the parts.
        parts: front ends of the parts.
    """

    def __init__(self, encoder: JoinedAudioEncoder, parts: Sequence[FrontEnd]):
        super().__init__(encoder)
        self._together = encoder.together
        self._parts = nn.ModuleList(parts)
        self._own = list(parts)
        self.inputs = tuple(dict.fromkeys(name for part in parts for name in part.inputs))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Returns the example inputs of all parts."""
        return self._of_each([part.example(batch) for part in self._own])

    def dynamic(self, batch: Any) -> tuple[dict[int, Any], ...]:
        """Returns the dynamic dimensions of all parts."""
        return self._of_each([part.dynamic(batch) for part in self._own])

    def metadata(self) -> dict[str, str]:
        """Returns the metadata of all parts."""
        return {name: text for part in self._own for name, text in part.metadata().items()}

    def forward(self, batch: int, *inputs: Tensor) -> tuple[Float[Tensor, "batch audio_dim"], Bool[Tensor, " batch"]]:
        """Joins the parts' vectors; there is sound where any part has some."""
        given = dict(zip(self.inputs, inputs, strict=True))
        heard = [part(batch, *(given[name] for name in part.inputs)) for part in self._own]
        are_there = [there for _, there in heard]
        return self._together([vectors for vectors, _ in heard], are_there), torch.stack(are_there).any(dim=0)

    def _of_each(self, values: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Returns one value for each input, in the order of the inputs."""
        named = {
            name: value
            for part, own in zip(self._own, values, strict=True)
            for name, value in zip(part.inputs, own, strict=True)
        }
        return tuple(named[name] for name in self.inputs)


@dataclass(frozen=True, slots=True)
class FrontEnds:
    """Builds the front end that an encoder needs.

    Args:
        settings: settings of the spectrogram.
    """

    settings: SpectrogramSettings

    def of_spectrograms(self, encoder: AudioEncoder) -> FrontEnd:
        """Builds the front end of an encoder that reads log-mel spectrograms."""
        return WaveformFrontEnd(encoder, self.settings)

    def of_vectors(self, encoder: AudioEncoder) -> FrontEnd:
        """Builds the front end of an encoder whose vectors are made elsewhere."""
        return VectorFrontEnd(encoder)

    def of_nothing(self, encoder: AudioEncoder) -> FrontEnd:
        """Builds the front end of an encoder that does without sound."""
        return FrontEnd(encoder)

    def of_several(self, encoder: AudioEncoder, parts: Sequence[AudioEncoder]) -> FrontEnd:
        """Builds the front end of an encoder that joins several, with the inputs of all its parts."""
        assert isinstance(encoder, JoinedAudioEncoder)
        return JoinedFrontEnd(encoder, [part.heard_through(self) for part in parts])


def _places(settings: SpectrogramSettings, crop_frames: int) -> Int[Tensor, "crops crop_samples"]:
    """Returns the sample of its crop at each position under the windows of a record's frames.

    As in `torch.stft`, windows are centred on their frames, and sound is mirrored at the ends of a crop, here every
    `crop_frames`. There are always as many rows as the settings have crops: a single crop's frames are divided among
    them.
    """
    frames = settings.num_frames // settings.num_crops
    first = np.arange(settings.num_crops) * frames % crop_frames * settings.hop_length
    reach = np.arange((frames - 1) * settings.hop_length + settings.n_fft) - settings.n_fft // 2
    period = max(2 * (crop_frames * settings.hop_length - 1), 1)
    places = (first[:, None] + reach) % period
    return torch.from_numpy(np.minimum(places, period - places))


def _windowed_fourier(window: Float[Tensor, " n_fft"]) -> Float[Tensor, "parts 1 n_fft"]:
    """Returns cosines of all frequencies up to the highest, then sines, times the window."""
    size = len(window)
    turns = np.outer(np.arange(size // 2 + 1), np.arange(size)) % size * (2 * np.pi / size)
    waves = np.concatenate([np.cos(turns), np.sin(turns)]) * window.double().numpy()
    return torch.from_numpy(waves[:, None].astype(np.float32))
