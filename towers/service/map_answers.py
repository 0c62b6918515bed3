"""The answer of `/map`: the contents of a version in two dimensions, as a page draws them."""

from functools import cached_property
from threading import Lock

import numpy as np
from jaxtyping import Float

from towers.retrieval.export import Export
from towers.retrieval.files import CONTENT_MAP, reading
from towers.retrieval.projection_2d import even_sample, principal_components
from towers.service.cards import written

KEPT = 4
"""Most answers that are kept, one for each `limit`."""


class MapAnswers:
    """Answers `/map` for one version; the map is made at the first request for it.

    Other requests for the map wait meanwhile; requests for anything else do not.

    Args:
        export: the opened export.
    """

    def __init__(self, export: Export):
        self._export = export
        self._making = Lock()
        self._answers: dict[int, str] = {}

    def json(self, limit: int) -> str:
        """Returns the answer of `/map` for an even sample of at most `limit` contents."""
        with self._making:
            if limit not in self._answers:
                if len(self._answers) >= KEPT:
                    self._answers.clear()
                self._answers[limit] = self._written(limit)
            return self._answers[limit]

    @cached_property
    def _places(self) -> tuple[str, np.ndarray]:
        return places_of(self._export)

    def _written(self, limit: int) -> str:
        method, places = self._places
        rows = even_sample(len(places), limit)
        contents = self._export.contents.take(rows)
        ids, titles = contents["content_id"].to_pylist(), contents["title"].to_pylist()
        return written(
            {
                "version": version_of(self._export),
                "method": method,
                "content_id": ids,
                "title": [title or content_id for title, content_id in zip(titles, ids, strict=True)],
                "kind": contents["kind"].to_pylist(),
                "genre": [genres[0] if genres else None for genres in contents["genres"].to_pylist()],
                "is_cold": self._export.is_cold[rows].tolist(),
                "x": np.round(places[rows, 0].astype(np.float64), 4).tolist(),
                "y": np.round(places[rows, 1].astype(np.float64), 4).tolist(),
            }
        )


def version_of(export: Export) -> str:
    """Returns the name of an export's version."""
    return export.manifest.get("version", export.folder.name)


def places_of(export: Export) -> tuple[str, Float[np.ndarray, "contents 2"]]:
    """Returns how the map was made and the coordinates of each content on it, from -1 to 1.

    The export's own map where it has one, else the two principal components of the vectors.
    """
    path = export.folder / CONTENT_MAP
    if path.exists():
        with reading(path):
            method, places = "content_map", np.load(path)
    else:
        method, places = "principal_components", principal_components(export.vectors)
    largest = np.abs(places).max(initial=0)
    return method, (places / (largest or 1)).astype(np.float32)
