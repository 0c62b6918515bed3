"""Bulk inference: the vectors of all contents and of many listeners."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from towers.batch import ContentBatch, HistoryBatch
from towers.features.sounds import Records
from towers.models.two_tower import TwoTower
from towers.training.content_table import ContentTable
from towers.training.processes import Processes
from towers.training.staleness import Staleness

SOUNDS_AT_ONCE = 64
CONTENTS_AT_ONCE = 8_192


@torch.inference_mode()
def refresh_audio(two_tower: TwoTower, table: ContentTable, records: Records, processes: Processes) -> Staleness:
    """Encodes every sound anew, in full length, into the table.

    Processes take turns at portions of `SOUNDS_AT_ONCE` sounds and exchange the vectors, so each encodes its share,
    and all end with the same bits as one process alone, since the portions do not depend on the number of processes.
    Nothing is random. Memory is bounded by one portion per rank. Where the table is divided by rows, each rank encodes
    its own and exchanges nothing; portions then begin where its rows begin, so bits depend on the number of ranks.

    Args:
        two_tower: model with the audio encoder; the same weights on all ranks.
        table: table of the same sounds on all ranks.
        records: input of the encoder, by sound.
        processes: processes that share the work; all must call.

    Returns:
        How far the table's vectors had drifted, the same on all ranks.
    """
    staleness = Staleness(table.device)
    if table.division is not None:
        own = table.division.own
        with _evaluating(two_tower):
            for first in range(own.start, own.stop, SOUNDS_AT_ONCE):
                part = records[first : min(first + SOUNDS_AT_ONCE, own.stop)]
                vectors = _encoded(two_tower, part, table.device)[: len(part)]
                table.write(first - own.start, vectors, staleness)
        return staleness.together(processes, len(records))
    at_once = SOUNDS_AT_ONCE * processes.share.ranks
    with _evaluating(two_tower):
        for first in range(0, len(records), at_once):
            own = first + processes.share.rank * SOUNDS_AT_ONCE
            vectors = _encoded(two_tower, records[own : own + SOUNDS_AT_ONCE], table.device)
            table.write(first, processes.gathered(vectors, at_once)[: len(records) - first], staleness)
    return staleness


def _encoded(
    two_tower: TwoTower, records: Float[np.ndarray, "sounds n_mels frames"], device: torch.device
) -> Float[torch.Tensor, "portion audio_dim"]:
    """Returns the vectors of a portion, padded with zero rows to `SOUNDS_AT_ONCE`, so that all ranks send as many."""
    if not len(records):
        return torch.zeros((SOUNDS_AT_ONCE, two_tower.audio_encoder.dim), device=device)
    spectrograms = torch.from_numpy(np.asarray(records, np.float32))
    if device.type == "cuda":  # so that the next portion is read while this one is encoded
        spectrograms = spectrograms.pin_memory()
    spectrograms = spectrograms.to(device, non_blocking=True)
    vectors = two_tower.audio_encoder(spectrograms).float()
    return torch.nn.functional.pad(vectors, (0, 0, 0, SOUNDS_AT_ONCE - len(records)))


def embed_contents(two_tower: TwoTower, table: ContentTable) -> Float[torch.Tensor, "contents dim"]:
    """Returns unit vectors of all contents by row, from the audio vectors in the table."""
    found, first = torch.empty(0), 0
    for block in content_blocks(two_tower, table):
        if not first:  # allocated once: joining blocks at the end would need twice the memory
            found = block.new_empty(len(table), block.shape[1])
        found[first : first + len(block)] = block
        first += len(block)
    return found


def content_blocks(two_tower: TwoTower, table: ContentTable) -> Iterator[Float[torch.Tensor, "block dim"]]:
    """Yields unit vectors of all contents by row, a block at a time."""
    return _blocks(two_tower, table, two_tower.encode_contents)


def sound_blocks(two_tower: TwoTower, table: ContentTable) -> Iterator[Float[torch.Tensor, "block dim"]]:
    """Yields unit vectors of contents from their sound alone, without metadata and id; zeros without a sound."""

    def by_sound(contents: ContentBatch) -> Float[torch.Tensor, "block dim"]:
        unknown = {part: torch.zeros_like(codes) for part, codes in contents.parts.items()}
        vectors = two_tower.content_tower.without_id(replace(contents, parts=unknown))
        return torch.nn.functional.normalize(vectors, dim=-1) * contents.has_audio[:, None]

    return _blocks(two_tower, table, by_sound)


def _blocks(
    two_tower: TwoTower, table: ContentTable, encode: Callable[[ContentBatch], torch.Tensor]
) -> Iterator[torch.Tensor]:
    for rows in torch.arange(len(table), device=table.device).split(CONTENTS_AT_ONCE):
        with torch.inference_mode(), _evaluating(two_tower):
            block = encode(table.batch(rows))
        yield block


@torch.inference_mode()
def embed_users(
    two_tower: TwoTower, histories: Iterable[HistoryBatch], content_vectors: Float[torch.Tensor, "contents dim"]
) -> Float[np.ndarray, "users dim"]:
    """Returns unit vectors of the listeners of all `histories`, in order, float32, `[0, dim]` without any."""
    vectors = []
    with _evaluating(two_tower):
        for batch in histories:
            moved = batch.to(content_vectors.device)
            vectors.append(two_tower.encode_users(moved, content_vectors).float().cpu().numpy())
    return np.concatenate(vectors) if vectors else np.zeros((0, two_tower.dim), np.float32)


class _evaluating:  # noqa: N801  (a context manager, used like a function)
    """Context in which a model is in evaluation mode, without dropout; restores its mode at the end."""

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._was_training = model.training

    def __enter__(self) -> None:
        self._model.eval()

    def __exit__(self, *_: object) -> None:
        self._model.train(self._was_training)
