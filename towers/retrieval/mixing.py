"""Listeners of one version of an export against contents of another, while a new version is being rolled out."""

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
    """Made by `listeners_against`, which says whether it is sound.

    Args:
        users: whose listeners ask.
        contents: whose contents are asked for.
        through: from the listeners' space to the contents'; null where they are one.
    """

    users: Export
    contents: Export
    through: SpaceRotation | None

    def vector(self, user_row: int) -> Float[np.ndarray, " dim"]:
        """A listener's vector among the contents'."""
        vector = np.asarray(self.users.user_vectors[user_row])
        return vector if self.through is None else self.through.apply(vector)

    def chosen(self, user_row: int) -> Int[np.ndarray, " chosen"]:
        """Rows, in the export of the contents, of what a listener has chosen; without what that export lacks."""
        chosen = self.users.chosen(user_row)
        rows = chosen if self.users is self.contents else self._row_of_own[chosen]
        return rows[rows >= 0]

    def standing(self, user_row: int) -> Standing:
        """How a listener stands to the contents, after what they did until the last event of their own version."""
        standing = standing_of(self.users, user_row)
        return standing if self.users is self.contents else standing.moved(self._row_of_own)

    def recommend(self, user_row: int, query: Query) -> Found:
        """Contents for a listener, as rows of the export of the contents."""
        return recommend(self.contents, self.vector(user_row), query, self.standing(user_row))

    @cached_property
    def _row_of_own(self) -> Int[np.ndarray, " users_contents"]:
        """The contents' row by the row of the listeners' own export; -1 where there is none."""
        return self.contents.content_ids.rows(self.users.contents["content_id"])


def listeners_against(users: Export, contents: Export, through: SpaceRotation | None = None) -> MixedVersions:
    """Asks the contents of one version with the listeners of another.

    Args:
        users: whose listeners ask.
        contents: whose contents are asked for.
        through: a map between their spaces where these differ, such as an export's own, inverted or chained: who gives
            one accepts what it costs (`drift.json`).

    Raises:
        UserError: their spaces differ and there is no map, or it is between others.
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
