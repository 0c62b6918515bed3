"""What others are to be near to: a content of the export, or one that is new to it."""

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
    """A content whose neighbours are asked for.

    Args:
        row: of the export; null of a content that is new to it.
        encoded: its vector.
        kind: its own: neighbours are of it unless somebody asks for others.
    """

    row: int | None
    encoded: Encoded
    kind: tuple[str, ...]

    @classmethod
    def known(cls, export: Export, row: int) -> "Original":
        """A content of the export."""
        return cls(row=row, encoded=Encoded(vector=export.vectors[row]), kind=(schema.KINDS[export.kinds[row]],))

    @classmethod
    def new(cls, export: Export, audio: Audio, metadata: Mapping[str, Any]) -> "Original":
        """A content that the export does not have; raises as `encode_content`."""
        return cls(row=None, encoded=encode_content(export, audio, metadata), kind=(kind_of(metadata),))

    def neighbours(self, export: Export, query: Query) -> Found:
        """The contents of the export that are nearest; the query's kinds count, not its own."""
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
    """By an id or a title, or by what is known of a new content.

    Raises:
        UserError: none of them or both; an unknown content; as `encode_content`.
    """
    check_which(content, is_new=audio is not None or bool(metadata))
    if content is None:
        return Original.new(export, audio, metadata or {})
    return Original.known(export, export.content_row(id_text(content)))


def check_which(content: object, *, is_new: bool) -> None:
    """Raises `UserError` unless it is told in one way what others are to be near to."""
    if (content is not None) == is_new:
        raise UserError("give either content, or audio and metadata of one that the export does not have")
