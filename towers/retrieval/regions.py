"""Named regions of the space: a coarse map that listeners, editors and simulators share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.manifest import read_json, write_json
from towers.retrieval import files
from towers.retrieval.files import mapped_array, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """A clustering of the contents that can be played, which keeps its ids from version to version.

    A region is told by its place in these arrays, which is good for one version; `ids` are good for all.

    Args:
        ids: rising; an id that has gone is not given again.
        names: of the genres that a region has most of compared with all contents, or of a piece; no two are alike.
        styles: the styles (`Styles.names`) that each is named by; empty where it is named by a piece.
        centroids: unit.
        typical: rows of contents near the centroid that are chosen most, the most chosen first; -1 where there are
            fewer.
        region_of_content: the place of each content's region; -1 where it cannot be played.
        next_id: the least that was never given.
    """

    ids: Int[np.ndarray, " regions"]
    names: tuple[str, ...]
    styles: tuple[tuple[str, ...], ...]
    centroids: Float[np.ndarray, "regions dim"]
    typical: Int[np.ndarray, "regions typical"]
    region_of_content: Int[np.ndarray, " contents"]
    next_id: int

    def of_vector(self, vector: Float[np.ndarray, " dim"]) -> int:
        """The place of the region that a vector lies in, of a listener as of a content; -1 where there are none."""
        return int((self.centroids @ vector).argmax()) if len(self.ids) else -1

    @classmethod
    def read(cls, folder: Path) -> "Regions":
        """Memory-mapped, from the folder that `write` made; raises `UserError` for a damaged file."""
        with reading(folder / files.REGION_FACTS) as path:
            facts = read_json(path)
        centroids, typical, region_of_content = (mapped_array(folder / name) for name in files.REGION_ARRAYS)
        return cls(
            ids=np.array(facts["ids"], np.int64), names=tuple(facts["names"]),
            styles=tuple(tuple(styles) for styles in facts["styles"]), centroids=centroids, typical=typical,
            region_of_content=region_of_content, next_id=facts["next_id"],
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Makes `folder`, with a file of facts and one of each array."""
        folder.mkdir()
        facts = {"ids": self.ids.tolist(), "names": list(self.names), "styles": self.styles, "next_id": self.next_id}
        write_json(folder / files.REGION_FACTS, facts)
        arrays = (self.centroids, self.typical, self.region_of_content)
        for name, array in zip(files.REGION_ARRAYS, arrays, strict=True):
            np.save(folder / name, array)
