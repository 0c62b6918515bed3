"""The mix: its dial is exact, and its list is in the styles of the listener."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.somebody import somebody
from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.features.ragged import Ragged
from towers.policies.playlists.mix import Mix
from towers.policies.request import Request, Shared
from towers.retrieval.export import Export
from towers.retrieval.styles import Styles

CONTENTS, STYLES = 60, 3


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    contents = [content(f"c{row}", artist_ids=[f"a{row}"]) for row in range(CONTENTS)]
    vectors = np.random.default_rng(0).normal(size=(CONTENTS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = small_export(tmp_path_factory.mktemp("mix") / "export", contents, vectors, {"u": [0]})
    codes = Ragged(np.arange(CONTENTS + 1), (np.arange(CONTENTS) % STYLES).astype(np.int32))
    found.__dict__["styles"] = Styles(
        names=("a", "b", "c"), codes=codes, shares=np.ones(CONTENTS, np.float32), is_given=np.ones(CONTENTS, bool)
    )
    return found


def asked(export: Export, played: list[int]) -> Request:
    listener = somebody(export, [(row, schema.PLAY) for row in played], np.asarray(export.vectors[3]))
    return Request(shared=Shared(export), listeners=(listener,))


@given(played=st.sets(st.integers(0, CONTENTS - 1), min_size=8, max_size=15), tenths=st.integers(0, 10))
def test_the_dial_is_exact(export, played, tenths):
    request = replace(asked(export, sorted(played)), asked={"k": 8, "familiar": tenths / 10})
    rows = Mix().make(request).rows
    assert len(rows) == 8
    assert np.isin(rows, sorted(played)).sum() == int(0.8 * tenths + 0.5)


def test_a_mix_has_the_styles_of_its_listener(export):
    played = [0, 3, 6, 9, 12, 1]  # five of the first style, one of the second
    rows = Mix(k=12).make(replace(asked(export, played), asked={"familiar": 0.0})).rows
    plain = Mix(k=12, calibrated=False).make(replace(asked(export, played), asked={"familiar": 0.0})).rows
    wanted = np.array([5, 1, 0]) / 6

    def distance(of: np.ndarray) -> float:
        return float(np.abs(np.bincount(of % STYLES, minlength=STYLES) / len(of) - wanted).sum())

    assert distance(rows) < distance(plain)
    assert distance(rows) <= 0.5
