"""Content tower: from an audio vector, metadata and id to a unit vector. It knows no spectrograms or stores."""

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
    """Fuses the sound and metadata of a content, then adds a trained delta for its id.

    A new content is encoded by sound and metadata alone; for a well-known one the delta corrects that by its listening
    data. A missing part adds nothing. In training, parts and delta are dropped at random for each content, so that the
    others learn to work without them.

    Args:
        vocabulary_sizes: metadata part -> number of codes, 0 included.
        audio_dim: dimension of the audio encoder's vectors; 0 without sound.
        is_audio_standardised: whether these have mean 0 and deviation 1 over the catalogue. Otherwise each vector is
            normalised by itself (LayerNorm), which bounds it, but loses how loud and steady a sound is.
        num_events: `[contents]`, number of training events that chose each content.
        rows: layout of the id table over the processes of a training.
        dim: dimension of the space.
        hidden_dim: width of the hidden layer.
        part_dropout: probability that a metadata part or the sound of a content is dropped in training.
        id_dropout: probability that the delta of a content is dropped in training.
        id_min_events: number of training events from which on a content's id has a delta.
        dropout: dropout probability of the hidden layer.
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
        # A model of ids only has nothing to fuse.
        self._fuse = nn.Sequential(*layers) if vocabulary_sizes or audio_dim else None
        self._is_trained: Tensor
        self.register_buffer("_is_trained", num_events >= id_min_events)
        self._id_delta: IdTable = rows.ids(self._is_trained, dim)

    def forward(self, contents: ContentBatch) -> Float[Tensor, "contents dim"]:
        """Returns unit vectors."""
        rows, known = contents.rows, self.without_id(contents)
        delta = self._id_delta(rows, contents.route) * self._is_trained[rows][:, None]
        return normalize(known + delta * self._kept(rows, self._id_dropout), dim=-1)

    def without_id(self, contents: ContentBatch) -> Float[Tensor, "contents dim"]:
        """Returns vectors of the contents from sound and metadata, without the id delta; of any norm."""
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
        """Resizes the id table for weights in which exactly these contents have a delta."""
        self._id_delta.admit(is_trained)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any, **named: Any) -> None:
        """Loads weights like torch, after resizing the id table for the contents that have a delta in them.

        These may differ from those that the current event counts would select.
        """
        is_trained = state_dict.get(f"{prefix}_is_trained")
        if is_trained is not None and is_trained.shape == self._is_trained.shape:
            self.admit(is_trained)
        super()._load_from_state_dict(state_dict, prefix, *others, **named)

    def set_delta(self, rows: Int[Tensor, " contents"], delta: Float[Tensor, "contents dim"]) -> None:
        """Sets the id deltas of those of the given contents that have one."""
        self._id_delta.set(rows, delta)

    @property
    def has_delta(self) -> Bool[Tensor, " all_contents"]:
        """True for the content rows whose id has a delta."""
        return self._is_trained

    @property
    def divided_ids(self) -> DividedIds | None:
        """The id table if its rows are divided among ranks; None if every process has the whole table."""
        return self._id_delta if isinstance(self._id_delta, DividedIds) else None

    @property
    def has_content(self) -> bool:
        """True if the tower reads sound or metadata, and not only ids."""
        return self._fuse is not None

    @property
    def parts(self) -> tuple[str, ...]:
        """Metadata parts that the tower reads."""
        return tuple(self._parts)

    def id_parameters(self) -> list[Tensor]:
        """Returns the parameters with a row per content."""
        return [self._id_delta.own_rows()]

    def row_tables(self) -> dict[str, str]:
        """Returns, by parameter name, what its rows stand for: `contents`, or the values of a metadata part."""
        return {"_id_delta.weight": "contents"} | {f"_parts.{part}.weight": part for part in self._parts}

    @staticmethod
    def weights_moved(weights: Mapping[str, Tensor], row_of: Int[Tensor, " contents"]) -> dict[str, Tensor]:
        """Returns a tower's weights for contents with other rows, moving the rows of single ids along.

        Args:
            weights: weights by name, from `state_dict`.
            row_of: previous row of each content; -1 for a new one, which gets no delta.
        """
        is_new = row_of < 0
        is_trained = weights["_is_trained"][row_of.clamp(min=0)] & ~is_new
        deltas = weights["_id_delta.weight"]
        if len(deltas) == len(weights["_is_trained"]):  # a row for each content
            found = deltas[row_of.clamp(min=0)].masked_fill(is_new[:, None], 0)
        else:  # a row for each content with a delta
            found = deltas[rows_in_order(weights["_is_trained"])[row_of[is_trained]]]
        return {**weights, "_id_delta.weight": found, "_is_trained": is_trained}

    def _kept(self, rows: Int[Tensor, " contents"], probability: float) -> Float[Tensor, "contents 1"]:
        """Draws 1 for contents that keep a part and 0 for those that lose it; all ones outside of training."""
        if not self.training or probability == 0:
            return torch.ones((rows.shape[0], 1), device=rows.device)
        return (torch.rand((len(rows), 1), device=rows.device) >= probability).float()


def _part(size: int, dim: int) -> nn.Embedding:
    """Creates an embedding whose rows have a norm of about 1; the row of code 0 is zero and stays zero."""
    embedding = nn.Embedding(size, dim, padding_idx=0)
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    with torch.no_grad():
        embedding.weight[0].zero_()
    return embedding


def _mean_embedding(embedding: nn.Module, codes: Int[Tensor, "contents width"]) -> Float[Tensor, "contents dim"]:
    """Returns the mean embedding of the known codes; zero if there are none."""
    known = (codes != 0).sum(dim=1, keepdim=True).clamp(min=1)
    return embedding(codes).sum(dim=1) / known
