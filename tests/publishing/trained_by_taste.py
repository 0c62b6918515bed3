"""Inputs of the exporter for listeners of plain taste, and the way tests write an export of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tests.publishing.listening import DIM, vectors_by_taste
from towers.contract.provenance import Provenance
from towers.data.loaders import UserBatches
from towers.data.store import Store
from towers.models.audio.encoder import NoAudioEncoder, SoundStatistics
from towers.models.content_tower import ContentTower
from towers.models.rows import WHOLE
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower
from towers.publishing.held_out import HeldOutListening
from towers.publishing.index import IvfSettings
from towers.publishing.trained import ExportSettings, Trained
from towers.publishing.writer import write_export
from towers.retrieval.export import Export
from towers.training.embed import embed_users

SETTINGS = ExportSettings(
    dim=None, align_to=None, index=IvfSettings(min_contents=10_000, num_lists=1, num_probes=1), variants=(),
    min_variant_overlap=0.99, min_recall_share=0.95, max_parity_difference=1e-4, regions=None, long_term=None,
    rows_per_part=150, num_threads=2,
)  # fmt: skip


def in_blocks(vectors: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (vectors[first : first + size] for first in range(0, len(vectors), size))


class TrainedByTaste:
    """Contents at their taste, and an untrained user tower, which reads ids alone; it judges itself."""

    def __init__(self, store: Store):
        torch.manual_seed(0)
        is_trained = torch.from_numpy(store.train_positives > 0)
        contents = ContentTower(
            {},
            0,
            False,
            is_trained.long(),
            WHOLE,
            DIM,
            hidden_dim=8,
            part_dropout=0.0,
            id_dropout=0.0,
            id_min_events=1,
            dropout=0.0,
        )
        users = UserTower((), len(store.vocabulary("context")), DIM, dim=8, num_layers=1, num_heads=2, dropout=0.0)
        self.store, self.fingerprint = store, "weights"
        self.two_tower = TwoTower(NoAudioEncoder(SoundStatistics.of_none(4)), contents, users).eval()

    def content_vectors(self) -> np.ndarray:
        return vectors_by_taste(self.store, 0)

    def user_vectors(self, rows: np.ndarray, contents: np.ndarray, until: str) -> np.ndarray:
        histories = self.store.histories
        ends = {"validation": histories.train_end, "test": histories.test_start, "end": histories.offsets[1:]}
        batches = UserBatches(self.store, ends[until], rows, 50, 2_000)
        return embed_users(self.two_tower, batches, torch.from_numpy(contents))

    def trained(self, block: int = 70, **other) -> Trained:
        """Returns the exporter's input; `other` replaces parts of it."""
        store = self.store
        facts = {
            "store": store, "two_tower": self.two_tower, "positives": store.train_positives,
            "content_blocks": lambda: in_blocks(self.content_vectors(), block), "sounds": None,
            "sound_blocks": lambda: iter(()), "user_vectors": self.user_vectors, "max_length": 50,
            "provenance": Provenance(trained_on=store.fingerprint, trained_until_us=0), "weights": self.fingerprint,
            "config": "config", "metrics": {}, "held_out": HeldOutListening(store, min_users=5),
            "judged": "not judged",
        }  # fmt: skip
        return Trained(**facts | other)


def write(folder: Path, trained: Trained, settings: ExportSettings = SETTINGS, earlier: Export | None = None) -> Path:
    write_export(folder, trained, settings, earlier, lambda stage, done, total: None)
    return folder
