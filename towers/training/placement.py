"""Placement of contents without listeners: sound and metadata are fitted anew to the vectors found by training.

While the towers are trained together, an id's delta can express all that sound and metadata do not, so these are
hardly pushed to express what they could: a content without plays is placed worse than its data allow. After training,
the vectors of contents with listeners are known, and predicting them from sound and metadata is a regression with one
example per content, as van den Oord et al. ("Deep content-based music recommendation", NeurIPS 2013) place songs among
the factors of a matrix. The deltas then take up the residuals, so nothing changes for contents with listeners, nor for
listeners.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from towers.batch import ContentBatch
from towers.data.training_batches import Share
from towers.errors import require_counts
from towers.features.crops import random_crops
from towers.features.sounds import Sounds
from towers.models.audio.encoder import AudioEncoder
from towers.training.embed import embed_contents, refresh_audio
from towers.training.processes import Processes
from towers.training.step import Learner


class NoPlacement:
    """Leaves contents without listeners where training places them.

    Args:
        audio_encoder: not used; accepted because an experiment may set one.
    """

    def __init__(self, audio_encoder: Callable[..., AudioEncoder] | None):
        self.audio_encoder = None

    def fit(self, *_: object, **__: object) -> None:
        """Does nothing, with the arguments of `Placement.fit`."""
        return


class Placement:
    """Fits an audio encoder and a content tower to vectors, by the cosine, without ids.

    Parts are dropped as in the tower's training, so that a content is placed by the parts that it has.

    Args:
        audio_encoder: factory that takes `statistics` of the store's sound and makes the encoder used for placing,
            instead of a learned one; null: another encoder of the trained kind.
        epochs: passes over the contents with listeners.
        batch_size: contents in a step.
        lr: initial learning rate of AdamW, which falls to zero along half a cosine.
        weight_decay: decay of all parameters but the deltas.

    Raises:
        ValueError: epochs or batch_size are below 1, or lr or weight_decay below 0.
    """

    def __init__(
        self,
        audio_encoder: Callable[..., AudioEncoder] | None,
        epochs: int,
        batch_size: int,
        lr: float,
        weight_decay: float,
    ):
        require_counts(epochs=epochs, batch_size=batch_size)
        for name, rate in (("lr", lr), ("weight_decay", weight_decay)):
            if not rate >= 0:
                raise ValueError(f"{name}={rate} must be 0 or more")
        self.audio_encoder = audio_encoder
        self._epochs = epochs
        self._batch_size = batch_size
        self._lr = lr
        self._weight_decay = weight_decay

    def fit(
        self,
        trained: Learner,
        placed: Learner,
        sounds: Sounds | None,
        placed_sounds: Sounds | None,
        rows: Int[Tensor, " placed"],
        crop_frames: int,
        seed: int,
        passed: Callable[[int, int], None],
    ) -> float | None:
        """Fits the audio encoder and content tower of `placed`, and gives it the user tower of `trained`.

        Args:
            trained: learner after its training.
            placed: new, untrained learner of the same contents and space, on the same device.
            sounds: input of the audio encoder of `trained`; null without sound.
            placed_sounds: input of the audio encoder of `placed`; null without sound.
            rows: rows of the contents to learn from: those with trained ids.
            crop_frames: length in frames of the random crops that the encoder is fitted on.
            seed: seed of order, crops and dropout; torch's generators are left as they were.
            passed: called after each pass with the number of passes done and the number in all.

        Returns:
            The mean cosine between the trained vectors of `rows` and their vectors without ids; null where contents
            have nothing but ids, or where no content has a trained id, so that training itself has placed all contents.
        """
        tower, table = placed.two_tower.content_tower, placed.table
        if not tower.has_content or not len(rows):
            return None
        if sounds is not None:
            refresh_audio(trained.two_tower, trained.table, sounds.records, Processes(Share()))
        vectors = embed_contents(trained.two_tower, trained.table).float()
        learns = placed.two_tower.audio_encoder.learns
        if placed_sounds is not None and not learns:  # a fixed encoder is run once
            refresh_audio(placed.two_tower, table, placed_sounds.records, Processes(Share()))
        with torch.random.fork_rng([table.device] if table.device.type == "cuda" else []):
            torch.manual_seed(seed)
            self._train(_Placed(placed, placed_sounds, crop_frames, seed), rows, vectors, passed)
        if placed_sounds is not None and learns:
            refresh_audio(placed.two_tower, table, placed_sounds.records, Processes(Share()))
        placed.eval()
        cosines = []
        with torch.no_grad():
            for part in rows.split(self._batch_size):
                known = tower.without_id(table.batch(part))
                tower.set_delta(part, vectors[part] - known)
                cosines.append(cosine_similarity(known, vectors[part]))
        placed.two_tower.user_tower = trained.two_tower.user_tower
        return torch.cat(cosines).mean().item()

    def _train(
        self,
        learner: "_Placed",
        rows: Int[Tensor, " placed"],
        vectors: Float[Tensor, "contents dim"],
        passed: Callable[[int, int], None],
    ) -> None:
        optimizer = torch.optim.AdamW(learner.parameters(), lr=self._lr, weight_decay=self._weight_decay)
        steps = self._epochs * math.ceil(len(rows) / self._batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(self._epochs):
            for part in rows[torch.randperm(len(rows)).to(rows.device)].split(self._batch_size):
                loss = 1 - cosine_similarity(learner(part), vectors[part]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            passed(epoch + 1, self._epochs)


class _Placed:
    """Vectors of contents from sound and metadata alone; an encoder that learns reads random crops."""

    def __init__(self, placed: Learner, sounds: Sounds | None, crop_frames: int, seed: int):
        self._encoder = placed.two_tower.audio_encoder.train()
        self._tower = placed.two_tower.content_tower.train()
        self._table = placed.table
        self._sounds = sounds if self._encoder.learns else None
        self._crop_frames = crop_frames
        self._generator = np.random.default_rng(seed)

    def parameters(self) -> list[Tensor]:
        """Returns all parameters but those of single ids."""
        ids = {id(parameter) for parameter in self._tower.id_parameters()}
        shared = [*self._encoder.parameters(), *self._tower.parameters()]
        return [parameter for parameter in shared if id(parameter) not in ids]

    def __call__(self, rows: Int[Tensor, " contents"]) -> Float[Tensor, "contents dim"]:
        contents = self._table.batch(rows)
        return self._tower.without_id(contents if self._sounds is None else self._heard(contents, self._sounds))

    def _heard(self, contents: ContentBatch, sounds: Sounds) -> ContentBatch:
        rows = sounds.rows[contents.rows.cpu().numpy()]
        index = np.flatnonzero(rows >= 0)
        if not len(index):
            return contents
        crops = random_crops(sounds.records, rows[index], self._crop_frames, self._generator)
        vectors = self._encoder(torch.from_numpy(crops).to(self._table.device))
        return contents.with_audio(torch.from_numpy(index).to(self._table.device), vectors)
