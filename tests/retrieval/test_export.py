from pathlib import Path

import pytest

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_index import clustered
from towers.errors import UserError
from towers.retrieval.show import title_card


def test_an_artist_is_named_by_an_artist_alone(tmp_path: Path) -> None:
    contents = [
        content("1", title="A song", artist_ids=["1", "2", "3"]),
        content("2", "artist", "Somebody"),
        content("3", "artist"),
    ]
    export = small_export(tmp_path / "export", contents, clustered(3))
    assert title_card(export, 0)[:2] == ("A song", "1, Somebody, 3")


@pytest.mark.parametrize("name", ["contents.faiss", "space_id"])
@pytest.mark.parametrize("keep", [None, 0, 0.5])
def test_a_damaged_index_is_named(tmp_path: Path, name: str, keep: float | None) -> None:
    export = small_export(tmp_path / "export", [content("a"), content("b")], clustered(2))
    damage(export.folder / "index" / name, keep)
    with pytest.raises(UserError, match=f"{export.folder}/index"):
        _ = export.index


def damage(path: Path, keep: float | None) -> None:
    """Removes a file, or keeps its first part."""
    whole = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(whole[: int(keep * len(whole))])
