"""Audio vector and metadata to a unit vector. Knows nothing of spectrograms, stores or listeners."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from towers.batch import ContentBatch
from towers.errors import require_counts
from towers.models.rows import DividedIds, IdTable, Rows, rows_in_order


class ContentTower(nn.Module):
    """Fuses whatever is known of a content, then adds a trained delta for its id.

    A new content is its sound and metadata; a well-known one is that, corrected by what listeners do. Any part may
    be missing: it then adds nothing. In training, parts and delta are dropped at random, content by content, so that
    the rest learns to stand alone.

    Args:
        vocabulary_sizes: metadata part -> number of codes, 0 included.
        audio_dim: of the audio encoder's vectors; 0 without sound.
        is_audio_standardised: whether these have mean 0 and deviation 1 over the catalogue. Others are normalised one
            by one, which bounds them whatever the encoder learns, and loses how loud and steady a sound is.
        num_events: `[contents]`, of training that chose the content.
        rows: how the id table stands in the processes of a training.
        dim: of the space.
        hidden_dim: of the layer between.
        part_dropout: probability that a metadata part or the sound of a content is dropped in training.
        id_dropout: probability that the delta of a content is dropped in training.
        id_min_events: of training from which on a content's id has a delta; with fewer it is its sound and metadata.
        dropout: in the layer between.
    """

    def __init__(
        self,
        vocabulary_sizes: Mapping[str, int],
        audio_dim: int,
        is_audio_standardised: bool,
        num_events: Int[Tensor, " all_contents"],
        rows: Rows,
        dim: int,
        hidden_dim: int,
        part_dropout: float,
        id_dropout: float,
        id_min_events: int,
        dropout: float,
    ):
        super().__init__()
        require_counts(dim=dim, hidden_dim=hidden_dim, id_min_events=id_min_events)
        for name, probability in (("part_dropout", part_dropout), ("id_dropout", id_dropout)):
            if not 0 <= probability < 1:
                raise ValueError(f"{name} must lie in 0 to 1, 1 excluded, got {probability}")
        self.dim = dim
        self._part_dropout = part_dropout
        self._id_dropout = id_dropout
        self._parts = nn.ModuleDict({part: _part(size, dim) for part, size in vocabulary_sizes.items()})
        norm = nn.Identity() if is_audio_standardised else nn.LayerNorm(audio_dim)
        self._audio = nn.Sequential(norm, nn.Linear(audio_dim, dim)) if audio_dim else None
        self._base = nn.Parameter(torch.zeros(dim))
        layers = (
            nn.LayerNorm(dim), nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden_dim, dim)
        )  # fmt: skip
        # Ids alone leave nothing to fuse.
        self._fuse = nn.Sequential(*layers) if vocabulary_sizes or audio_dim else None
        self._is_trained: Tensor
        self.register_buffer("_is_trained", num_events >= id_min_events)
        self._id_delta: IdTable = rows.ids(self._is_trained, dim)

    def forward(self, contents: ContentBatch) -> Float[Tensor, "contents dim"]:
        """Unit vectors."""
        rows, known = contents.rows, self.without_id(contents)
        delta = self._id_delta(rows, contents.route) * self._is_trained[rows][:, None]
        return normalize(known + delta * self._kept(rows, self._id_dropout), dim=-1)

    def without_id(self, contents: ContentBatch) -> Float[Tensor, "contents dim"]:
        """What is known of the contents beside their ids; of any length."""
        fused = self._base.expand(contents.rows.shape[0], -1)  # len() would fix the batch size in an export
        for part, embedding in self._parts.items():
            fused = fused + self._kept(contents.rows, self._part_dropout) * _mean_embedding(
                embedding, contents.parts[part]
            )
        if self._audio is not None:
            kept = self._kept(contents.rows, self._part_dropout) * contents.has_audio[:, None]
            fused = fused + kept * self._audio(contents.audio)
        return fused if self._fuse is None else fused + self._fuse(fused)

    def admit(self, is_trained: Bool[Tensor, " all_contents"]) -> None:
        """Makes room for weights in which the ids of these contents have a delta, whatever was counted since."""
        self._id_delta.admit(is_trained)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any, **named: Any) -> None:
        """Loads weights as torch does, after making room for the contents that have a delta in them.

        These may be others than today's counts of events would admit.
        """
        is_trained = state_dict.get(f"{prefix}_is_trained")
        if is_trained is not None and is_trained.shape == self._is_trained.shape:
            self.admit(is_trained)
        super()._load_from_state_dict(state_dict, prefix, *others, **named)

    def set_delta(self, rows: Int[Tensor, " contents"], delta: Float[Tensor, "contents dim"]) -> None:
        """Sets what is added for the ids of contents from now on, where they are to have a delta."""
        self._id_delta.set(rows, delta)

    @property
    def has_delta(self) -> Bool[Tensor, " all_contents"]:
        """Says whether a content's id has a delta, by content row."""
        return self._is_trained

    @property
    def divided_ids(self) -> DividedIds | None:
        """Returns the id table where its rows are divided among ranks; null where it is whole."""
        return self._id_delta if isinstance(self._id_delta, DividedIds) else None

    @property
    def has_content(self) -> bool:
        """Whether anything but ids may be known."""
        return self._fuse is not None

    @property
    def parts(self) -> tuple[str, ...]:
        """Metadata that it reads."""
        return tuple(self._parts)

    def id_parameters(self) -> list[Tensor]:
        """What belongs to single ids."""
        return [self._id_delta.own_rows()]

    def row_tables(self) -> dict[str, str]:
        """Names of parameters with a row a content, or a row a value of a metadata part -> `contents`, or the part."""
        return {"_id_delta.weight": "contents"} | {f"_parts.{part}.weight": part for part in self._parts}

    @staticmethod
    def weights_moved(weights: Mapping[str, Tensor], row_of: Int[Tensor, " contents"]) -> dict[str, Tensor]:
        """A tower's weights for contents that have other rows: what belongs to single ids goes with them.

        Args:
            weights: by name, as `state_dict` gives them.
            row_of: the row that each content had, -1 where it is new; what it has is zero, and no id counts as trained.
        """
        is_new = row_of < 0
        is_trained = weights["_is_trained"][row_of.clamp(min=0)] & ~is_new
        deltas = weights["_id_delta.weight"]
        if len(deltas) == len(weights["_is_trained"]):  # a row a content
            found = deltas[row_of.clamp(min=0)].masked_fill(is_new[:, None], 0)
        else:  # a row for each content with a delta
            found = deltas[rows_in_order(weights["_is_trained"])[row_of[is_trained]]]
        return {**weights, "_id_delta.weight": found, "_is_trained": is_trained}

    def _kept(self, rows: Int[Tensor, " contents"], probability: float) -> Float[Tensor, "contents 1"]:
        """1 where a content keeps the part, 0 where it is dropped; all ones outside of training."""
        if not self.training or probability == 0:
            return torch.ones((rows.shape[0], 1), device=rows.device)
        return (torch.rand((len(rows), 1), device=rows.device) >= probability).float()


def _part(size: int, dim: int) -> nn.Embedding:
    """Rows as long as a unit vector; the row of code 0 is zero and stays so."""
    embedding = nn.Embedding(size, dim, padding_idx=0)
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    with torch.no_grad():
        embedding.weight[0].zero_()
    return embedding


def _mean_embedding(embedding: nn.Module, codes: Int[Tensor, "contents width"]) -> Float[Tensor, "contents dim"]:
    """Mean over the codes that are there; zero where there is none."""
    known = (codes != 0).sum(dim=1, keepdim=True).clamp(min=1)
    return embedding(codes).sum(dim=1) / known
