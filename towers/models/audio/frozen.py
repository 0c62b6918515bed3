"""Encoder that passes on audio embeddings of another model."""

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
"""Configuration key of the file, for messages."""


class FrozenAudioEncoder(AudioEncoder):
    """Passes on audio embeddings that another model (CLAP, MERT) has made, unchanged.

    The embeddings are this encoder's records, with one frame each, so that other code treats them like encoded sounds:
    they fill the table of audio vectors at the start, and are never recomputed, as nothing is trained. The store needs
    no spectrograms. A content without an embedding has no sound, even if it has a spectrogram. The content tower
    normalises the embeddings and projects them by a layer of its own.

    The file's digest is part of a run's signature and of its weights, so a run is resumed, evaluated and exported only
    with the file on which it was trained.

    Args:
        statistics: statistics of the catalogue, not used.
        path: path of a Parquet file with the columns `content_id` and `vector`.

    Raises:
        UserError: the file is missing or invalid.
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
        """Returns the file's digest.

        Raises:
            UserError: the file cannot be read.
        """
        path = Path(settings["path"])
        try:
            return (digest_of_file(path),)
        except OSError as error:
            raise UserError(f"{KEY}={path}: cannot be read ({error.strerror}); give a Parquet file") from error

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> Sounds:
        """Returns the file's embeddings of the store's contents.

        Raises:
            UserError: the file has no embedding of any of them.
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
            notes=(f"{note}; {unknown:,} vectors of contents that the store does not have are ignored",)
            if unknown
            else (note,),
        )

    def heard_through(self, ears: Ears[Made]) -> Made:
        """Returns what `ears` makes for an encoder of audio embeddings."""
        return ears.of_vectors(self)

    def forward(self, records: Float[Tensor, "sounds dim frames"]) -> Float[Tensor, "sounds dim"]:
        """Returns the first frame of the records; all frames are equal."""
        return records[:, :, 0]


def _refuse_another_file(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checks, before weights are loaded, that they were trained on the same file.

    Raises:
        UserError: the file has changed since.
    """
    assert isinstance(encoder, FrozenAudioEncoder)
    trained_on = state.get(f"{prefix}_digest")
    if trained_on is not None and not torch.equal(trained_on.cpu(), encoder._digest.cpu()):
        raise UserError(
            f"{KEY}={encoder._path}: has changed since the run was trained; put the file back, or train again"
        )
