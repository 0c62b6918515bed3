"""Properties of every kind of playlist."""

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist, Reason
from towers.policies.reasons import WORDS, in_words


def test_a_list_with_a_content_twice_is_refused():
    with pytest.raises(ValueError, match="repeated"):
        Playlist(rows=np.array([1, 1]), scores=np.zeros(2))


def test_reasons_belong_to_contents():
    with pytest.raises(ValueError, match="2 contents have 1 reasons"):
        Playlist(rows=np.array([1, 2]), scores=np.zeros(2), reasons=(Reason(kind="saved", because=1),))


def test_reasons_name_what_they_refer_to(tmp_path):
    export = small_export(tmp_path / "export", [content("a", title="Aria")], np.eye(1, 4, dtype=np.float32))
    said = {kind: in_words(export, Reason(kind=kind, because=0)) for kind in WORDS}
    assert said["saved"] == "because you saved Aria"
    assert said["popular"] == "popular these days"


def test_a_listener_without_a_model_of_listening_goes_by_the_inner_product(tmp_path):
    vectors = np.eye(4, dtype=np.float32)[:3]
    export = small_export(tmp_path / "export", [content(name) for name in "abc"], vectors, {"u": [0, 1]})
    listener = Listener.of(export, user="u")
    assert listener.met.tolist() == [0, 1]
    assert listener.has_met(np.array([2, 1])).tolist() == [False, True]
    assert listener.utility(np.array([1, 2])).tolist() == [1.0, 0.0]
