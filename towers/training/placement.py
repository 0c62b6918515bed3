"""Where a content without listeners stands: sound and metadata fitted anew to the places that training has found.

While towers are trained together, the delta of an id can say whatever sound and metadata do not, so little makes these
say what they could: a content that nobody has played yet stands worse than what is known of it allows. Once training is
over, the places of the contents with listeners are known, and to find them from sound and metadata is a regression with
an example a content, as van den Oord et al. ("Deep content-based music recommendation", NeurIPS 2013) place songs among
the factors of a matrix. The deltas then take up what is left, so contents with listeners stand where they stood, and
for these and for listeners nothing changes.
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
from towers.models.sounds import Sounds
from towers.models.two_tower import TwoTower
from towers.training.content_table import ContentTable
from towers.training.embed import embed_contents, refresh_audio
from towers.training.ranks import Ranks


class NoPlacement:
    """Leaves contents without listeners where training puts them."""

    def fit(
        self,
        trained: TwoTower,
        fresh: TwoTower,
        table: ContentTable,
        sounds: Sounds | None,
        rows: Int[Tensor, " placed"],
        crop_frames: int,
        seed: int,
        passed: Callable[[int, int], None],
    ) -> None:
        """Does nothing."""
        return


class Placement:
    """Fits an audio encoder and a content tower to vectors: the largest cosine with each, without its id.

    Parts are dropped as the tower drops them in training, so that a content is placed by whatever is known of it.

    Args:
        epochs: passes over the contents with listeners.
        batch_size: contents in a step.
        lr: learning rate of AdamW, falling to zero along half a cosine.
        weight_decay: of everything but the deltas.

    Raises:
        ValueError: no epoch, no content in a step, or a rate or decay below 0.
    """

    def __init__(self, epochs: int, batch_size: int, lr: float, weight_decay: float):
        for name, number in (("epochs", epochs), ("batch_size", batch_size)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        for name, rate in (("lr", lr), ("weight_decay", weight_decay)):
            if not rate >= 0:
                raise ValueError(f"{name}={rate} must be 0 or more")
        self._epochs = epochs
        self._batch_size = batch_size
        self._lr = lr
        self._weight_decay = weight_decay

    def fit(
        self,
        trained: TwoTower,
        fresh: TwoTower,
        table: ContentTable,
        sounds: Sounds | None,
        rows: Int[Tensor, " placed"],
        crop_frames: int,
        seed: int,
        passed: Callable[[int, int], None],
    ) -> float | None:
        """Gives `trained` the audio encoder and content tower of `fresh`, fitted, and the table its audio vectors.

        Args:
            trained: at the end of its training; on the table's device.
            fresh: another of the same sizes, on the same device, as it was made.
            table: what is known of the contents.
            sounds: what the encoders read; null without sound.
            rows: of the contents to learn from: those whose ids are trained.
            crop_frames: of the random crops that the encoder is fitted on, in frames.
            seed: of order, crops and dropout; torch's generators are left as they were.
            passed: hears of passes that are done, and of how many there are.

        Returns:
            The mean cosine between where `rows` stand and where they are placed without their ids; null where ids are
            all that is known.
        """
        if not fresh.content_tower.has_content:
            return None
        if sounds is not None:
            refresh_audio(trained, table, sounds.records, Ranks(Share()))
        vectors = embed_contents(trained, table).float().clone()  # of inference mode, where no gradient is
        learner = _Placed(fresh, table, sounds, crop_frames, seed)
        with torch.random.fork_rng([table.device] if table.device.type == "cuda" else []):
            torch.manual_seed(seed)
            self._train(learner, rows, vectors, passed)
        if sounds is not None:
            refresh_audio(fresh, table, sounds.records, Ranks(Share()))
        fresh.eval()
        cosines = []
        with torch.no_grad():
            for part in rows.split(self._batch_size):
                placed = fresh.content_tower.without_id(table.batch(part))
                fresh.content_tower.set_delta(part, vectors[part] - placed)
                cosines.append(cosine_similarity(placed, vectors[part]))
        trained.audio_encoder, trained.content_tower = fresh.audio_encoder, fresh.content_tower
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
    """Contents by sound and metadata alone; of an encoder that learns, by random crops."""

    def __init__(self, two_tower: TwoTower, table: ContentTable, sounds: Sounds | None, crop_frames: int, seed: int):
        self._encoder = two_tower.audio_encoder.train()
        self._tower = two_tower.content_tower.train()
        self._table = table
        self._sounds = sounds if any(True for _ in self._encoder.parameters()) else None
        self._crop_frames = crop_frames
        self._generator = np.random.default_rng(seed)

    def parameters(self) -> list[Tensor]:
        """All but those of single ids."""
        ids = {id(parameter) for parameter in self._tower.id_parameters()}
        shared = [*self._encoder.parameters(), *self._tower.parameters()]
        return [parameter for parameter in shared if id(parameter) not in ids]

    def __call__(self, rows: Int[Tensor, " contents"]) -> Float[Tensor, "contents dim"]:
        contents = self._table.batch(rows)
        return self._tower.without_id(contents if self._sounds is None else self._heard(contents, self._sounds))

    def _heard(self, contents: ContentBatch, sounds: Sounds) -> ContentBatch:
        index = np.flatnonzero(sounds.rows[contents.rows.cpu().numpy()] >= 0)
        if not len(index):
            return contents
        crops = sounds.crops(contents.rows.cpu().numpy()[index], self._crop_frames, self._generator)
        vectors = self._encoder(torch.from_numpy(crops).to(self._table.device))
        return contents.with_audio(torch.from_numpy(index).to(self._table.device), vectors)
