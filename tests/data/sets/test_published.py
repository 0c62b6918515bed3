"""Files of a set in a folder, recognised by their published names."""

import pytest

from tests.data.sets.small import gzipped
from towers.data.sources.sets.published import found
from towers.errors import UserError


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1\n")


def names_of(root, *patterns):
    return [str(path.relative_to(root)) for path in found(root, patterns)]


def test_the_first_pattern_with_a_file_counts(tmp_path):
    write(tmp_path, "ratings.csv", "ml-20m/ratings.csv")
    assert names_of(tmp_path, "ratings.csv", "*/ratings.csv") == ["ratings.csv"]
    assert names_of(tmp_path, "rated.csv", "*/ratings.csv") == ["ml-20m/ratings.csv"]
    assert names_of(tmp_path, "rated.csv") == []


def test_packed_files_stand_beside_others(tmp_path):
    write(tmp_path, "log_1.csv", "log_2.csv")
    gzipped(tmp_path / "log_2.csv")
    for pattern in ("log_*.csv", "log_*.csv.bz2", "log_*.csv*"):
        assert names_of(tmp_path, pattern) == ["log_1.csv", "log_2.csv.gz"]


def test_a_file_that_is_there_packed_and_unpacked(tmp_path):
    write(tmp_path, "tracks.tsv", "tracks.tsv.bz2")
    with pytest.raises(UserError, match=r"tracks\.tsv\.bz2: tracks\.tsv is there as well; leave one of the two"):
        found(tmp_path, ["tracks.tsv.bz2"])


@pytest.mark.parametrize("inner", ["", "relations/"])
def test_two_archives_are_not_one_set(tmp_path, inner):
    write(tmp_path, f"ml-20m/{inner}ratings.csv", f"ml-latest-small/{inner}ratings.csv")
    said = f"data.root=.*: ml-20m/{inner}ratings.csv and ml-latest-small/{inner}ratings.csv are of two archives; give"
    with pytest.raises(UserError, match=said):
        found(tmp_path, ["ratings.csv", f"*/{inner}ratings.csv"])
    assert names_of(tmp_path / "ml-20m", "ratings.csv", f"{inner}ratings.csv") == [f"{inner}ratings.csv"]
