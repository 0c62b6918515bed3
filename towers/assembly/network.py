"""Builds networks from settings, with sizes from a store."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import DictConfig

from towers.config.instantiate import Factory, factory
from towers.config.signature import placed_by
from towers.data.store import Store
from towers.data.training_batches import Share
from towers.features.sounds import Sounds
from towers.models.audio.encoder import AudioEncoder, SoundStatistics
from towers.models.content_tower import ContentTower
from towers.models.rows import WHOLE, Rows
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower
from towers.training.content_table import ContentTable

SOUNDS_FOR_NORMALISATION = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkParts:
    """Builders of a network, for any store.

    Args:
        audio_encoder: as for `build_two_tower`.
        content_tower: as for `build_two_tower`.
        user_tower: as for `build_two_tower`.
        rows: takes `rank` and `ranks`.
        placing: audio encoder for contents placed after training; null: the same one.
    """

    audio_encoder: Factory
    content_tower: Factory
    user_tower: Factory
    rows: Factory
    placing: Factory | None

    def build(self, store: Store, is_placed: bool = False, share: Share | None = None) -> TwoTower:
        """Builds a new network that fits the store.

        Args:
            store: store that it has to fit.
            share: share of the process in a training; null: it works alone.
            is_placed: whether contents were placed after training: then with the encoder for these, where there is one
                and the original one would have to be trained.
        """
        replaces = is_placed and self.placing is not None and _would_learn(self.audio_encoder)
        encoder = self.placing if replaces else self.audio_encoder
        assert encoder is not None
        return build_two_tower(store, encoder, self.content_tower, self.user_tower, self.rows_of(share))

    def rows_of(self, share: Share | None = None) -> Rows:
        """Returns how tables with one row per content are divided among processes; null: there is one process."""
        share = share or Share()
        return self.rows(rank=share.rank, ranks=share.ranks)

    def files(self) -> list[str]:
        """Returns fingerprints of files that the audio encoders read."""
        encoders = [self.audio_encoder, *([self.placing] if self.placing is not None else [])]
        return [file for each in encoders for file in each.target.fingerprints(**each.made.keywords)]


def _would_learn(encoder: Factory) -> bool:
    return encoder.target.would_learn(**encoder.made.keywords)


def network_parts(config: DictConfig) -> NetworkParts:
    """Turns the groups of the three encoders and of placement into builders.

    Raises:
        UserError: a key does not fit.
    """
    node = placed_by(config)
    return NetworkParts(
        audio_encoder=factory(config.audio_encoder, "audio_encoder"),
        content_tower=factory(config.content_tower, "content_tower"),
        user_tower=factory(config.user_tower, "user_tower"),
        rows=factory(config.rows, "rows"),
        placing=None if node is None else factory(node, "placement.audio_encoder"),
    )


def build_two_tower(
    store: Store,
    audio_encoder: Callable[..., AudioEncoder],
    content_tower: Callable[..., ContentTower],
    user_tower: Callable[..., UserTower],
    rows: Rows = WHOLE,
) -> TwoTower:
    """Builds a new network that fits the store.

    Args:
        store: gives sizes, the contents that are trained, and the statistics of its sounds.
        audio_encoder: takes `statistics` of the store's sound.
        content_tower: takes `vocabulary_sizes`, `audio_dim`, `is_audio_standardised`, `num_events`, `rows`.
        user_tower: takes `user_vocabulary_sizes`, `num_contexts`, `content_dim`.
        rows: division of the id table among the processes of a training.
    """
    encoder = audio_encoder(statistics=sound_statistics(store))
    contents = content_tower(
        vocabulary_sizes={part: len(store.vocabulary(part)) for part in store.features.content_parts},
        audio_dim=encoder.dim,
        is_audio_standardised=encoder.is_standardised,
        num_events=torch.from_numpy(store.train_positives.copy()),  # a store is read only
        rows=rows,
    )
    users = user_tower(
        user_vocabulary_sizes=tuple(len(store.vocabulary(column)) for column in store.features.user_columns),
        num_contexts=len(store.vocabulary("context")),
        content_dim=contents.dim,
    )
    return TwoTower(audio_encoder=encoder, content_tower=contents, user_tower=users)


def heard_by(encoder: AudioEncoder, store: Store) -> Sounds | None:
    """Returns the sounds that the encoder reads: the store's spectrograms, or its own vectors; null without sound."""
    return encoder.hears(store.content_ids, store.sounds)


def told_of_sound(encoder: AudioEncoder, store: Store, sounds: Sounds | None) -> tuple[str, ...]:
    """Returns lines on how many of the playable contents have a sound that the encoder reads."""
    if not encoder.dim:
        return ()
    heard = 0 if sounds is None else int((sounds.rows[store.is_playable] >= 0).sum())
    total = int(store.is_playable.sum())
    line = f"{heard:,} of {total:,} contents have a sound; {total - heard:,} train on metadata and ids alone"
    return (line, *(sounds.notes if sounds else ()))


def build_content_table(store: Store, audio_dim: int, sounds: Sounds | None, rows: Rows = WHOLE) -> ContentTable:
    """Makes the table of contents: the store's codes, and room for a vector of each sound."""
    if sounds is None:
        return ContentTable(store.content_codes, np.full(len(store.content_ids), -1), 0, audio_dim, rows)
    return ContentTable(store.content_codes, sounds.rows, len(sounds.records), audio_dim, rows)


def sound_statistics(store: Store) -> SoundStatistics:
    """Computes statistics of the sounds that training has seen, of at most `SOUNDS_FOR_NORMALISATION` of them."""
    n_mels = store.features.spectrogram.n_mels
    trained = store.audio_rows[(store.train_positives > 0) & (store.audio_rows >= 0)]
    if store.spectrograms is None or not len(trained):
        return SoundStatistics.of_none(n_mels)
    chosen = np.sort(np.random.default_rng(0).permutation(trained)[:SOUNDS_FOR_NORMALISATION])
    means, squares = np.zeros((len(chosen), n_mels)), np.zeros((len(chosen), n_mels))
    for place, row in enumerate(chosen):
        record = store.spectrograms.records[row].astype(np.float64)
        means[place], squares[place] = record.mean(axis=1), (record**2).mean(axis=1)
    mean = means.mean(axis=0)
    std = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 1e-4))
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    of_sounds = np.concatenate([(means - mean) / std, deviations / std], axis=1)
    found = {"mean": mean, "std": std, "sound_mean": of_sounds.mean(axis=0),
             "sound_std": np.maximum(of_sounds.std(axis=0), 0.1)}  # fmt: skip
    return SoundStatistics(**{name: torch.from_numpy(numbers).float() for name, numbers in found.items()})
