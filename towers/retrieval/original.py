"""The content whose neighbours are searched: one of the export, or a new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towers.contract import schema
from towers.errors import UserError
from towers.features.text import id_text
from towers.retrieval.asker import Id
from towers.retrieval.encoded import Encoded
from towers.retrieval.export import Export
from towers.retrieval.query import Query
from towers.retrieval.raw_contents import Audio, encode_content, kind_of
from towers.retrieval.search import Found, recommend, similar


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A content whose neighbours are searched.

    Args:
        row: row in the export; null for a new content.
        encoded: vector of the content.
        kind: kind of the content, which its neighbours have by default.
    """

    row: int | None
    encoded: Encoded
    kind: tuple[str, ...]

    @classmethod
    def known(cls, export: Export, row: int) -> "Original":
        """Builds an original from a content of the export."""
        return cls(row=row, encoded=Encoded(vector=export.vectors[row]), kind=(schema.KINDS[export.kinds[row]],))

    @classmethod
    def new(cls, export: Export, audio: Audio, metadata: Mapping[str, Any]) -> "Original":
        """Builds an original from a content that the export does not have; raises what `encode_content` raises."""
        return cls(row=None, encoded=encode_content(export, audio, metadata), kind=(kind_of(metadata),))

    def neighbours(self, export: Export, query: Query) -> Found:
        """Returns the nearest contents of the export, of the query's kinds."""
        if self.row is not None:
            return similar(export, self.row, query)
        return recommend(export, self.encoded.vector, query, None)


def original_of(
    export: Export,
    *,
    content: Id | None = None,
    audio: Audio = None,
    metadata: Mapping[str, Any] | None = None,
) -> Original:
    """Returns the original with an id or a title, or with the sound and metadata of a new content.

    Raises:
        UserError: neither or both are given, the content is unknown, or `encode_content` refuses a value.
    """
    check_which(content, is_new=audio is not None or bool(metadata))
    if content is None:
        return Original.new(export, audio, metadata or {})
    return Original.known(export, export.content_row(id_text(content)))


def check_which(content: object, *, is_new: bool) -> None:
    """Raises `UserError` unless exactly one of a content of the export and a new content is given."""
    if (content is not None) == is_new:
        raise UserError("give either content, or audio and metadata of one that the export does not have")
