"""Bulk inference: the vectors of all contents and of many listeners."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float

from towers.batch import HistoryBatch
from towers.models.two_tower import TwoTower
from towers.training.content_table import ContentTable

SOUNDS_AT_ONCE = 64
CONTENTS_AT_ONCE = 8_192


@torch.inference_mode()
def refresh_audio(two_tower: TwoTower, table: ContentTable, records: Float[np.ndarray, "sounds n_mels frames"]) -> None:
    """Encodes every sound anew, in full length, into the table."""
    with _evaluating(two_tower):
        for first in range(0, len(records), SOUNDS_AT_ONCE):
            spectrograms = torch.from_numpy(np.asarray(records[first : first + SOUNDS_AT_ONCE], np.float32))
            table.write(first, two_tower.audio_encoder(spectrograms.to(table.device)))


@torch.inference_mode()
def embed_contents(two_tower: TwoTower, table: ContentTable) -> Float[torch.Tensor, "contents dim"]:
    """Unit vectors of all contents by row, from the audio vectors in the table."""
    with _evaluating(two_tower):
        rows = torch.arange(len(table), device=table.device)
        parts = [two_tower.encode_contents(table.batch(part)) for part in rows.split(CONTENTS_AT_ONCE)]
    return torch.cat(parts)


@torch.inference_mode()
def embed_users(
    two_tower: TwoTower, histories: Iterable[HistoryBatch], content_vectors: Float[torch.Tensor, "contents dim"]
) -> Float[np.ndarray, "users dim"]:
    """Unit vectors of the listeners of all `histories`, in their order, float32."""
    vectors = []
    with _evaluating(two_tower):
        for batch in histories:
            moved = batch.to(content_vectors.device)
            vectors.append(two_tower.encode_users(moved, content_vectors).float().cpu().numpy())
    return np.concatenate(vectors) if vectors else np.zeros((0, two_tower.dim), np.float32)


class _evaluating:  # noqa: N801  (a context manager, used like a function)
    """Dropout off for the block, then as it was."""

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._was_training = model.training

    def __enter__(self) -> None:
        self._model.eval()

    def __exit__(self, *_: object) -> None:
        self._model.train(self._was_training)
