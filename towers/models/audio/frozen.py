"""Audio vectors from elsewhere in place of an encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.errors import UserError
from towers.features.audio_vectors import AudioVectors
from towers.features.sounds import Sounds
from towers.manifest import digest_of_file
from towers.models.audio.encoder import AudioEncoder, Ears, Made, SoundStatistics

KEY = "audio_encoder.path"
"""What the caller knows the file by."""


class FrozenAudioEncoder(AudioEncoder):
    """Hands on vectors that were made elsewhere (CLAP, MERT), as they are.

    They are the records of its sounds, one frame long, so everybody else treats them as sounds that are encoded: they
    come into the table of audio vectors at the start, and as nothing here is trained, no step encodes any anew. The
    store needs no spectrograms, and a content without a vector has no sound, whether or not it has a spectrogram. The
    content tower normalises the vectors and has a layer of its own to read them.

    The file's digest is part of a run's signature, and of its weights: a run goes on, is evaluated and exported with
    the file that it was trained on alone.

    Args:
        statistics: not used; every encoder is built with those of the catalogue.
        path: of a Parquet file with the columns `content_id` and `vector`.

    Raises:
        UserError: the file is not there or will not do.
    """

    learns = False

    def __init__(self, statistics: SoundStatistics, path: str):
        super().__init__()
        self._path = path
        (digest,) = self.fingerprints(path=path)
        self._digest: Tensor
        self.register_buffer("_digest", torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_refuse_another_file)
        self._file = AudioVectors.read(Path(path), KEY)
        self.dim = self._file.vectors.shape[1]

    @classmethod
    def fingerprints(cls, **settings: Any) -> tuple[str, ...]:
        """The file's digest.

        Raises:
            UserError: it cannot be read.
        """
        path = Path(settings["path"])
        try:
            return (digest_of_file(path),)
        except OSError as error:
            raise UserError(f"{KEY}={path}: cannot be read ({error.strerror}); give a Parquet file") from error

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> Sounds:
        """The file's vectors of the contents that there are.

        Raises:
            UserError: there is no vector of any.
        """
        known = [self._file.row_of.get(content_id, -1) for content_id in content_ids.tolist()]
        places = np.array(known, dtype=np.int64)
        has_vector = places >= 0
        if not has_vector.any():
            raise UserError(
                f"{KEY}={self._path}: none of its {len(self._file.row_of):,} content ids is in the store; it has ids "
                f"such as {next(iter(self._file.row_of))!r}, the store {str(next(filter(None, content_ids), None))!r}"
            )
        rows = np.where(has_vector, np.cumsum(has_vector) - 1, -1)
        unknown = len(self._file.row_of) - int(has_vector.sum())
        note = f"{KEY}={self._path}: vectors of {has_vector.sum():,} of {np.count_nonzero(content_ids):,} contents"
        return Sounds(
            records=self._file.vectors[places[has_vector], :, None],
            rows=rows,
            notes=(f"{note}; {unknown:,} vectors of contents that the store does not have are left out",)
            if unknown
            else (note,),
        )

    def heard_through(self, ears: Ears[Made]) -> Made:
        """As one that reads vectors."""
        return ears.of_vectors(self)

    def forward(self, records: Float[Tensor, "sounds dim frames"]) -> Float[Tensor, "sounds dim"]:
        """The first frame of the records, which is like all others."""
        return records[:, :, 0]


def _refuse_another_file(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before weights are loaded: they go with the vectors that they were trained on.

    Raises:
        UserError: those were others.
    """
    assert isinstance(encoder, FrozenAudioEncoder)
    trained_on = state.get(f"{prefix}_digest")
    if trained_on is not None and not torch.equal(trained_on.cpu(), encoder._digest.cpu()):
        raise UserError(
            f"{KEY}={encoder._path}: has changed since the run was trained; put the file back, or train again"
        )
