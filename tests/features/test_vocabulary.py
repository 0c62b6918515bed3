import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.features.vocabulary import UNKNOWN, Vocabulary

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.lists(TEXTS), st.lists(TEXTS | st.none()))
@example([""], ["", None])
def test_equals_a_dictionary(values, texts):
    codes = {value: code for code, value in enumerate(sorted(set(values)), start=1)}
    vocabulary = Vocabulary(values)
    assert len(vocabulary) == len(codes) + 1
    assert vocabulary.encode(texts).tolist() == [codes.get(text, UNKNOWN) for text in texts]
    assert vocabulary.encode(texts).dtype == np.int32


@given(st.lists(TEXTS), st.randoms())
def test_does_not_depend_on_order(values, random):
    shuffled = random.sample(values, len(values))
    assert Vocabulary(shuffled).encode(values).tolist() == Vocabulary(values).encode(values).tolist()


@given(values=st.lists(TEXTS, max_size=6))
def test_comes_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("vocabulary") / "genres.parquet"
    Vocabulary(values).write(path)
    read = Vocabulary.read(path)
    assert len(read) == len(set(values)) + 1
    assert read.encode(values).tolist() == Vocabulary(values).encode(values).tolist()


def test_encodes_arrays():
    vocabulary = Vocabulary(["folk", "jazz"])
    assert vocabulary.encode(np.array(["jazz", "polka"])).tolist() == [2, 0]
    assert vocabulary.encode(np.array(["jazz", None], dtype=object)).tolist() == [2, 0]


@pytest.mark.parametrize("content", [None, b"not Parquet"])
def test_unreadable_names_the_file(tmp_path, content):
    path = tmp_path / "genres.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"genres\.parquet"):
        Vocabulary.read(path)
