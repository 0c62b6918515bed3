"""Cards and listeners from a user's own files: read as they are, or refused in one line with file, column and row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from towers.errors import UserError
from towers.simulation.carousel.files import carousel_of_files

CARDS = {"card_id": ["a", "b", "c"], "dim_0": [0.1, 0.2, 0.3], "dim_1": [1, 0, 2], "bias": [-2.0, -3.0, -4.0]}
LISTENERS = {"user_id": [7, 8], "dim_1": [5.0, 6.0], "dim_0": [0.5, 0.6]}
BOTH = {"cards": CARDS, "listeners": LISTENERS}


def written(path: Path, columns: dict[str, list]) -> Path:
    """Writes a file of columns, in the format that its name ends in."""
    table = pa.table(list(map(pa.array, columns.values())), names=list(columns))
    pa_csv.write_csv(table, path) if path.suffix == ".csv" else pq.write_table(table, path)
    return path


def read(folder: Path, cards=CARDS, listeners=LISTENERS, suffix: str = ".csv"):
    """Returns the world of cards and listeners, written to files."""
    paths = written(folder / f"cards{suffix}", cards), written(folder / f"listeners{suffix}", listeners)
    return carousel_of_files(*paths, segments=2)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_matched_by_name(tmp_path, suffix):
    world = read(tmp_path, suffix=suffix)
    assert world.cards.ids == ("a", "b", "c")
    assert world.listeners.ids == ("7", "8")
    assert world.listeners.vectors == pytest.approx(np.array([[5.0, 0.5], [6.0, 0.6]]))
    assert world.cards.weights == pytest.approx(np.array([[1, 0.1], [0, 0.2], [2, 0.3]]))
    assert world.cards.biases == pytest.approx(np.array([-2, -3, -4]))
    logit = 1 * 6.0 + 0.1 * 0.6 - 2
    assert world.chances(np.array([1]), np.array([[0]])) == pytest.approx(1 / (1 + np.exp(-logit)))
    assert sorted(world.listeners.segments.tolist()) == [0, 1]


def test_told_segments_are_kept(tmp_path):
    world = read(tmp_path, listeners={**LISTENERS, "segment": [40, 3]})
    assert world.listeners.segments.tolist() == [1, 0]
    assert world.listeners.vectors.shape == (2, 2)


def test_columns_with_other_names_are_matched_by_their_numbers(tmp_path):
    weights = {"id": ["a"], "w_10": [1.0], "w_2": [2.0], "bias": [0.0]}
    world = read(tmp_path, cards=weights, listeners={"id": ["x"], "taste2": [5.0], "taste10": [6.0]})
    assert world.cards.weights.tolist() == [[2, 1]]


def test_the_published_files_are_read_as_they_are(tmp_path):
    """They have no ids, segments in front, and a bias whose name is a number alone."""
    weights = {"dim_0": [0.5, 1.0], "dim_1": [0.25, 2.0], "2": [-5.0, -6.0]}
    world = read(tmp_path, cards=weights, listeners={"segment": [0, 1, 1], "dim_0": [1.0] * 3, "dim_1": [2.0] * 3})
    assert world.cards.biases.tolist() == [-5, -6]
    assert world.cards.ids == ("0", "1")
    assert world.listeners.segments.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("which", "column", "values", "message"),
    [
        ("cards", "dim_0", [0.1, None, 0.3], "column 'dim_0', row 2: the number is missing"),
        ("cards", "dim_0", ["0.1", "0.2", "many"], "column 'dim_0', row 3: 'many' is not a number"),
        ("cards", "bias", [0.1, float("inf"), 0.3], "column 'bias', row 2: inf is not a finite number"),
        ("listeners", "dim_1", [1e300, 1.0], "column 'dim_1', row 1: 1e+300 is not a finite number"),
        ("cards", "card_id", ["a", "b", "a"], "column 'card_id', row 3: the id 'a' is already in row 1"),
        ("cards", "card_id", ["a", None, "c"], "column 'card_id', row 2: the id is missing"),
        ("listeners", "dim_2", [1.0, 2.0], "cards.csv: has no column for 'dim_2' of world.listeners"),
        ("cards", "dim_2", [1.0] * 3, "listeners.csv: has no column for 'dim_2' of world.cards"),
        ("listeners", "segment", [0.5, 1], "column 'segment', row 1: must be a whole number from 0"),
        ("listeners", "segment", [1, -1], "column 'segment', row 2: must be a whole number from 0"),
        ("listeners", "listener_id", [1, 2], "user_id and listener_id both look like the id"),
    ],
)
def test_a_wrong_cell_or_column_is_named(tmp_path, which, column, values, message):
    tables = {**BOTH, which: {**BOTH[which], column: values}}
    with pytest.raises(UserError) as refused:
        read(tmp_path, tables["cards"], tables["listeners"])
    assert message in str(refused.value)
    assert f"{which}.csv: " in str(refused.value) or "has no column for" in message
    assert "\n" not in str(refused.value)


def test_nan_in_parquet_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cards\.parquet: column 'dim_1', row 3: nan is not a finite number"):
        read(tmp_path, cards={**CARDS, "dim_1": [0.0, 1.0, float("nan")]}, suffix=".parquet")


def test_cards_without_a_bias_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"world\.cards=.*cards\.csv: has no column 'bias'"):
        read(tmp_path, cards={name: values for name, values in CARDS.items() if name != "bias"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cards.csv", None, "no such file"),
        ("cards.txt", "a,b\n", "must end in .csv or .parquet"),
        ("cards.parquet", "a,b\n", "cannot be read as a table"),
        ("cards.csv", "id,dim_0,bias\n1,2\n", "cannot be read as a table"),
        ("cards.csv", "id,dim_0,bias\n", "has no rows"),
        ("cards.csv", "id,dim_0,dim_0,bias\n1,2,3,4\n", "two columns are called 'dim_0'"),
        ("cards.csv", "id\n1\n", "has only ids"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as refused:
        carousel_of_files(path, written(tmp_path / "listeners.csv", LISTENERS))
    assert str(refused.value).startswith(f"world.cards={path}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
