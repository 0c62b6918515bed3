"""Raw ids and rows lead to each other, in any order of the rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.retrieval.ids import Ids

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(st.lists(TEXTS, unique=True, max_size=12), TEXTS)
def test_every_id_leads_to_its_row_and_back(texts, other):
    ids = Ids.of(texts)
    assert list(ids) == texts
    assert [ids.row(text) for text in texts] == list(range(len(texts)))
    assert ids.rows([*texts, other]).tolist() == [*range(len(texts)), texts.index(other) if other in texts else -1]
    assert (other in ids) == (other in texts)
    assert ids.get(other, -5) == (texts.index(other) if other in texts else -5)


def test_an_id_that_is_not_there():
    with pytest.raises(KeyError, match="z"):
        Ids.of(["b", "a"]).row("z")
