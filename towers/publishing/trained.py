"""Input of the exporter: a trained network with its data, and the settings of the export."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from towers.contract.provenance import Provenance
from towers.data.histories import Until
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.night_vectors import Vectors
from towers.features.sounds import Sounds
from towers.manifest import digest_of
from towers.models.two_tower import TwoTower
from towers.publishing.held_out import HeldOutListening
from towers.publishing.index import IvfSettings
from towers.publishing.long_term import LongTermSettings
from towers.retrieval.export_files import FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """Settings of an export.

    Args:
        dim: number of leading dimensions of the vectors that are kept; null: all.
        align_to: folder of the export onto whose space the vectors are rotated; null: none.
        index: settings of the index of contents.
        variants: variants of the user tower in other number formats to try, `int8` or `float16`.
        min_variant_overlap: least share of the nearest 20 that a variant must have in common with float32.
        min_recall_share: least share of the recall of new listeners on new contents that the earlier version's
            listeners must reach on new contents for both versions to share a space.
        max_parity_difference: largest difference of any component of a unit vector between an exported tower and torch.
        regions: number of named regions of the space; null: by the number of contents.
        long_term: what counts as coming back, for the long-term value of a listen; null: the export has no such values.
        rows_per_part: number of rows of a Parquet file of vectors.
        num_threads: number of threads that write at once.

    Raises:
        UserError: a count is below 1.
    """

    dim: int | None
    align_to: str | None
    index: IvfSettings
    variants: tuple[str, ...]
    min_variant_overlap: float
    min_recall_share: float
    max_parity_difference: float
    regions: int | None
    long_term: LongTermSettings | None
    rows_per_part: int
    num_threads: int

    def __post_init__(self) -> None:
        for name in ("regions", "rows_per_part", "num_threads"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UserError(f"export.{name}={number}: must be at least 1")

    def dim_of(self, model_dim: int) -> int:
        """Returns the number of exported dimensions; raises `UserError` for more than the model has, or none."""
        dim = model_dim if self.dim is None else self.dim
        if not 1 <= dim <= model_dim:
            raise UserError(f"export.dim={dim}: the model's vectors have {model_dim}; give 1 to {model_dim}")
        return dim


@runtime_checkable  # for the tests, which check annotations at run time
class Judged(Vectors, Protocol):
    """A network that was not trained on its validation period; its vectors have length 1."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of its weights."""
        ...

    @property
    def two_tower(self) -> TwoTower:
        """The network in evaluation mode, on the CPU."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Input of an export.

    Args:
        store: store of the training data.
        two_tower: network in evaluation mode, on the CPU.
        positives: `[contents]`, number of positive events with each content in training; above 0 its own vector is
            trained.
        content_blocks: unit vectors of all contents by row, in blocks, float32.
        sounds: sounds that its audio encoder reads; null without sound.
        sound_blocks: unit vectors by sound alone, in blocks; zeros for contents without sound.
        user_vectors: function of listeners' rows, contents' vectors and a period that returns listeners' vectors from
            their histories up to that period or the end.
        max_length: number of events that the user tower reads.
        provenance: what the network was trained on.
        weights: fingerprint of the weights.
        config: fingerprint of the configuration.
        metrics: figures of the evaluation, by ranker; empty where there is none.
        held_out: listening by which versions are compared.
        judged: network on which the probability of a listen is fitted, usually the exported one; or why there is none.
    """

    store: Store
    two_tower: TwoTower
    positives: Int[np.ndarray, " contents"]
    content_blocks: Callable[[], Iterator[Float[np.ndarray, "block dim"]]]
    sounds: Sounds | None
    sound_blocks: Callable[[], Iterator[Float[np.ndarray, "block dim"]]]
    user_vectors: Callable[[np.ndarray, np.ndarray, Until], np.ndarray]
    max_length: int
    provenance: Provenance
    weights: str
    config: str
    metrics: dict[str, Any]
    held_out: HeldOutListening
    judged: Judged | str

    def source(self, settings: ExportSettings) -> str:
        """Returns a fingerprint of all that determines an export, except the earlier version that it is mapped onto."""
        how = [
            settings.dim, repr(settings.index), settings.variants, settings.min_variant_overlap,
            settings.min_recall_share, settings.regions, repr(settings.long_term), settings.rows_per_part,
        ]  # fmt: skip
        judged = self.judged if isinstance(self.judged, str) else self.judged.fingerprint
        return digest_of([FORMAT, self.weights, self.store.fingerprint, self.metrics, judged, how, self.store.as_of_us])
