"""Named regions of the vector space: a coarse map for listeners, editors and simulators."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.manifest import read_json, write_json
from towers.retrieval import files
from towers.retrieval.files import mapped_array, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """A clustering of the playable contents, whose ids stay the same from version to version.

    Within a version a region is identified by its index in these arrays; across versions by its id.

    Args:
        ids: ids, ascending; the id of a removed region is never reused.
        names: unique names, made of the genres overrepresented in a region compared with all contents, or of a title.
        styles: styles (`Styles.names`) by which each region is named; empty if it is named by a title.
        centroids: unit vectors.
        typical: rows of the most chosen contents near the centroid, most chosen first; -1 if there are fewer.
        region_of_content: index of each content's region; -1 if it is not playable.
        next_id: smallest id that was never used.
    """

    ids: Int[np.ndarray, " regions"]
    names: tuple[str, ...]
    styles: tuple[tuple[str, ...], ...]
    centroids: Float[np.ndarray, "regions dim"]
    typical: Int[np.ndarray, "regions typical"]
    region_of_content: Int[np.ndarray, " contents"]
    next_id: int

    def of_vector(self, vector: Float[np.ndarray, " dim"]) -> int:
        """Returns the index of the region of a listener's or content's vector; -1 if there are no regions."""
        return int((self.centroids @ vector).argmax()) if len(self.ids) else -1

    @classmethod
    def read(cls, folder: Path) -> "Regions":
        """Opens the folder of `write`, memory-mapped; raises `UserError` for a damaged file."""
        with reading(folder / files.REGION_FACTS) as path:
            facts = read_json(path)
        centroids, typical, region_of_content = (mapped_array(folder / name) for name in files.REGION_ARRAYS)
        return cls(
            ids=np.array(facts["ids"], np.int64), names=tuple(facts["names"]),
            styles=tuple(tuple(styles) for styles in facts["styles"]), centroids=centroids, typical=typical,
            region_of_content=region_of_content, next_id=facts["next_id"],
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Creates `folder`, with a file of facts and one for each array."""
        folder.mkdir()
        facts = {"ids": self.ids.tolist(), "names": list(self.names), "styles": self.styles, "next_id": self.next_id}
        write_json(folder / files.REGION_FACTS, facts)
        arrays = (self.centroids, self.typical, self.region_of_content)
        for name, array in zip(files.REGION_ARRAYS, arrays, strict=True):
            np.save(folder / name, array)
