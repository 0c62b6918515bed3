"""Tables of an export's contents for the terminal, with titles and artists."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from towers.contract import schema
from towers.retrieval.export import Export
from towers.retrieval.search import Found


def found_table(export: Export, found: Found, title: str) -> Table | Text:
    """Builds a table of found contents with rank, score, title, artists, kind, genres and id; a line if there is none.

    If the contents are ranked by the chance of a listen, the table has that column too.
    """
    if not len(found.rows):
        return Text(f"{title}: nothing; no content of these kinds is left")
    table = Table(title=Text(title), title_justify="left")
    for column in ("#", "chance", "score") if found.chances is not None else ("#", "score"):
        table.add_column(column, justify="right")
    for column in ("title", "artists", "kind", "genres", "id"):
        table.add_column(column, overflow="fold")
    figures = [found.scores] if found.chances is None else [found.chances, found.scores]
    for rank, (row, *scores) in enumerate(zip(found.rows.tolist(), *figures, strict=True), start=1):
        cells = (Text(cell) for cell in title_card(export, row))
        table.add_row(str(rank), *(f"{score:.3f}" for score in scores), *cells)
    return table


def history_table(export: Export, rows: Sequence[int] | np.ndarray, title: str, limit: int = 10) -> Table:
    """Builds a table of the last `limit` contents of a history, newest first."""
    table = Table(title=Text(title), title_justify="left")
    for column in ("title", "artists", "kind", "genres", "id"):
        table.add_column(column, overflow="fold")
    for row in list(rows)[::-1][:limit]:
        table.add_row(*(Text(cell) for cell in title_card(export, int(row))))
    return table


def title_card(export: Export, row: int) -> tuple[str, str, str, str, str]:
    """Returns title, artists, kind, genres and id; an artist's name if the artist has a row, else the artist's id."""
    content = export.contents.slice(row, 1).to_pylist()[0]
    artists = ", ".join(artist_name(export, artist_id) for artist_id in content["artist_ids"] or [])
    genres = ", ".join(content["genres"] or [])
    return content["title"] or content["content_id"], artists, content["kind"], genres, content["content_id"]


def artist_name(export: Export, artist_id: str) -> str:
    """Returns the title of the artist's row, or the id if no content of kind `artist` has that id."""
    row = export.content_ids.get(artist_id, -1)
    if row < 0 or schema.KINDS[export.kinds[row]] != "artist":
        return artist_id
    return export.contents["title"][row].as_py() or artist_id
