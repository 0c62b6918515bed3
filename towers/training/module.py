"""One training step and one validation, for Lightning. Losses, towers and metrics live elsewhere."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.batch import HistoryBatch, TrainingBatch
from towers.models.two_tower import TwoTower
from towers.training.content_table import ContentTable
from towers.training.embed import embed_contents, refresh_audio
from towers.training.objective import Objective

Judge = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""User vectors `[validation listeners, dim]` and content vectors `[contents, dim]` to metrics by name."""


class TowersModule(pl.LightningModule):
    """Trains a `TwoTower` to predict what a listener chooses next.

    Args:
        two_tower: the network.
        table: what is known of the contents.
        objective: the loss.
        optimizer: parameters -> optimiser.
        warmup_steps: over which the learning rate rises from 0; it then falls to 0 along a cosine.
        records: spectrograms of the store, or null without sound.
        judge: turns validation vectors into metrics.
        shown: the validation metrics that the progress bar shows.
    """

    def __init__(
        self,
        two_tower: TwoTower,
        table: ContentTable,
        objective: Objective,
        optimizer: partial[torch.optim.Optimizer],
        warmup_steps: int,
        records: Float[np.ndarray, "sounds n_mels frames"] | None,
        judge: Judge,
        shown: tuple[str, ...],
    ):
        super().__init__()
        self.two_tower = two_tower
        self.table = table
        self.objective = objective
        self._optimizer = optimizer
        self._warmup_steps = warmup_steps
        self._records = records
        self._judge = judge
        self._shown = shown
        self._content_vectors: Tensor | None = None
        self._user_vectors: list[Tensor] = []

    def on_fit_start(self) -> None:
        """Fills the table, so that the first step does not learn from zeros."""
        self._refresh_audio()

    def training_step(self, batch: TrainingBatch, batch_number: int) -> Tensor:
        """The loss of one batch."""
        contents = self.table.batch(batch.content_rows)
        if len(batch.fresh_index):
            fresh = self.two_tower.audio_encoder(batch.fresh_spectrograms)
            contents = self.table.with_fresh_audio(contents, batch.fresh_index, fresh)
        content_vectors = self.two_tower.encode_contents(contents)
        states = self.two_tower.encode_histories(batch.histories, content_vectors).flatten(0, 1)
        loss = self.objective(
            states[batch.target_position],
            content_vectors,
            batch.target_index,
            batch.target_weight,
            batch.candidate_index,
            batch.candidate_log_q,
        )
        self.log("loss", loss.detach(), prog_bar=True, on_step=True, batch_size=len(batch.target_index))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Encodes the catalogue once."""
        self._refresh_audio()
        self._content_vectors = embed_contents(self.two_tower, self.table)
        self._user_vectors = []

    def validation_step(self, batch: HistoryBatch, batch_number: int) -> None:
        """Encodes a batch of listeners."""
        assert self._content_vectors is not None
        self._user_vectors.append(self.two_tower.encode_users(batch, self._content_vectors).float())

    def on_validation_epoch_end(self) -> None:
        """Ranks the whole catalogue for the validation listeners."""
        assert self._content_vectors is not None
        users = torch.cat(self._user_vectors).cpu().numpy()
        metrics = self._judge(users, self._content_vectors.float().cpu().numpy())
        for name, value in metrics.items():
            self.log(f"validation/{name}", value, prog_bar=f"validation/{name}" in self._shown)
        self.log_dict(self.objective.logged())

    def configure_optimizers(self) -> dict:  # type: ignore[override]
        """Weight decay for matrices of the network alone: not for embeddings, norms and biases."""
        decayed, plain = [], []
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad:
                    is_matrix = isinstance(module, (nn.Linear, nn.Conv2d)) and name == "weight"
                    (decayed if is_matrix else plain).append(parameter)
        optimizer = self._optimizer([{"params": decayed}, {"params": plain, "weight_decay": 0.0}])
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_warmup_cosine, self._warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _refresh_audio(self) -> None:
        if self._records is not None:
            refresh_audio(self.two_tower, self.table, self._records)


def _warmup_cosine(warmup_steps: int, total_steps: int, step: int) -> float:
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return 0.5 * (1 + float(np.cos(np.pi * progress)))
