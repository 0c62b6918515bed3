"""Queries of one version's listeners against another version's contents, during the rollout of a new version."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.query import Query, Standing, standing_of
from towers.retrieval.rotation import SpaceRotation
from towers.retrieval.search import Found, recommend


@dataclass(frozen=True)
class MixedVersions:
    """Listeners of one version and contents of another; create it by `listeners_against`, which checks their spaces.

    Args:
        users: export with the listeners.
        contents: export with the contents.
        through: map from the listeners' space to the contents'; null if the spaces are the same.
    """

    users: Export
    contents: Export
    through: SpaceRotation | None

    def vector(self, user_row: int) -> Float[np.ndarray, " dim"]:
        """Returns a listener's vector in the contents' space."""
        vector = np.asarray(self.users.user_vectors[user_row])
        return vector if self.through is None else self.through.apply(vector)

    def chosen(self, user_row: int) -> Int[np.ndarray, " chosen"]:
        """Returns a listener's chosen contents as rows of the contents' export, without those it does not have."""
        chosen = self.users.chosen(user_row)
        rows = chosen if self.users is self.contents else self._row_of_own[chosen]
        return rows[rows >= 0]

    def standing(self, user_row: int) -> Standing:
        """Returns a listener's standing in rows of the contents' export, as of the last event of their own version."""
        standing = standing_of(self.users, user_row)
        return standing if self.users is self.contents else standing.moved(self._row_of_own)

    def recommend(self, user_row: int, query: Query) -> Found:
        """Recommends contents for a listener, as rows of the contents' export."""
        return recommend(self.contents, self.vector(user_row), query, self.standing(user_row))

    @cached_property
    def _row_of_own(self) -> Int[np.ndarray, " users_contents"]:
        """Row in the contents' export of each content of the listeners' export; -1 if there is none."""
        return self.contents.content_ids.rows(self.users.contents["content_id"])


def listeners_against(users: Export, contents: Export, through: SpaceRotation | None = None) -> MixedVersions:
    """Pairs the listeners of one version with the contents of another.

    Args:
        users: export with the listeners.
        contents: export with the contents.
        through: map between their spaces, if they differ: an export's own map, or maps that were inverted or chained.
            A map costs accuracy, as recorded in `drift.json`.

    Raises:
        UserError: the spaces differ and no map is given, or the map is between other spaces.
    """
    if users.space_id == contents.space_id:
        return MixedVersions(users, contents, None)
    between = f"{_named(users)} and {_named(contents)}"
    if through is None:
        raise UserError(
            f"listeners and contents are of different spaces, {between}, and must not be mixed; take both from one "
            "version, or give the map between the spaces"
        )
    if (through.source.space_id, through.target.space_id) != (users.space_id, contents.space_id):
        raise UserError(
            f"the map leads from {through.source} to {through.target}, not between {between}; chain or invert maps so "
            "that one leads from the listeners' space to the contents'"
        )
    return MixedVersions(users, contents, through)


def _named(export: Export) -> str:
    return f"{export.space_id} (version {export.manifest.get('version', export.folder.name)})"
