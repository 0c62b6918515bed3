"""A pool that the space proposes around a few contents."""

from datetime import date

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.features.content_facts import ContentFacts, artist_codes
from towers.policies.playlists.pool_file import read_pool
from towers.policies.playlists.proposal import ProposalSettings, propose_pool, write_proposal
from towers.policies.reasons import in_words
from towers.retrieval.co_listening import Neighbours

LAST_DAY = date(2026, 7, 1)


@pytest.fixture
def export(tmp_path):
    """Twelve tracks on a half circle, t0 to t11, two of each of six artists; then one of these artists."""
    contents = [
        content(f"t{at}", title=f"Track {at}", artist_ids=[f"a{at // 2}"], release_date=date(2025, 1, 1))
        for at in range(12)
    ]
    contents[2]["release_date"] = date(2026, 6, 1)
    contents[3]["release_date"] = date(2026, 7, 2)
    angles = np.pi * np.append(np.arange(12), 0.5) / 12
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    export = small_export(tmp_path / "export", [*contents, content("a1", kind="artist", title="Somebody")], vectors)
    facts = ContentFacts(artists=artist_codes(export.contents["artist_ids"]), recent_positives=np.ones(13, np.int64))
    export.facts, export.last_day = facts, LAST_DAY
    return export


def test_the_nearest_come_after_the_seeds_and_what_is_new_is_marked(export):
    found = propose_pool(export, np.array([0]), ProposalSettings(k=4))
    assert found.rows.tolist() == [0, 1, 2, 4]  # t3 is not out yet, and an artist cannot be played
    assert found.facts["new"] == 1
    said = [in_words(export, reason) for reason in found.reasons]
    assert said == ["the editor's choice", "close to Track 0", "new by Somebody", "close to Track 0"]
    assert (np.diff(found.scores) <= 0).all()


def test_seeds_of_two_kinds_bring_both(export):
    found = propose_pool(export, np.array([0, 11, 0]), ProposalSettings(k=6))
    assert found.rows[:2].tolist() == [0, 11]
    assert set(found.rows[2:].tolist()) == {1, 2, 9, 10}
    assert [reason.because for reason in found.reasons[2:] if reason.kind == "near"].count(11) == 2


def test_artists_are_capped_and_duplicates_left_out(export):
    export.recordings = np.array([0, 0, *range(2, 13)])  # t1 is a remaster of t0
    found = propose_pool(export, np.array([0]), ProposalSettings(k=4, max_per_artist=1))
    assert found.rows.tolist() == [0, 2, 4, 6]
    few = propose_pool(export, np.array([0]), ProposalSettings(k=12, max_per_artist=1))
    assert few.rows.tolist() == [0, 2, 4, 6, 8, 10]
    assert few.remark


def test_who_listens_to_the_seeds_counts(export):
    rows, weights = np.full((13, 1), -1, np.int32), np.zeros((13, 1), np.float32)
    rows[0], weights[0] = 9, 0.5
    export.co_listening = Neighbours(rows=rows, weights=weights)
    assert 9 not in propose_pool(export, np.array([0]), ProposalSettings(k=4, co_listening=0)).rows
    assert 9 in propose_pool(export, np.array([0]), ProposalSettings(k=4, co_listening=5)).rows


def test_what_nobody_played_is_new(export):
    export.is_cold, export.facts = np.arange(13) == 1, ContentFacts(
        artists=export.facts.artists, recent_positives=(np.arange(13) != 1).astype(np.int64)
    )  # fmt: skip
    found = propose_pool(export, np.array([0]), ProposalSettings(k=3, new_days=0))
    assert [reason.kind for reason in found.reasons] == ["editor", "new", "near"]  # its artist has no row


def test_it_is_written_for_the_editor(export, tmp_path):
    found = propose_pool(export, np.array([0]), ProposalSettings(k=4))
    written = write_proposal(export, found, tmp_path / "new.yaml", "A new genre", k=2)
    read = read_pool(export, tmp_path / "new.yaml")
    assert read.fingerprint == written.fingerprint
    assert (read.title, read.k, read.rows.tolist()) == ("A new genre", 2, found.rows.tolist())
    assert "- t2  # new by Somebody\n" in (tmp_path / "new.yaml").read_text()


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds: give at least one content"),
        ([12], "seeds: 'a1' cannot be played, it is of the kind artist"),
        ([0, 1, 2], "seeds: 3 of them leave no place in a pool of k=3"),
    ],
)
def test_seeds_that_make_no_pool_are_refused(export, seeds, message):
    with pytest.raises(UserError, match=message):
        propose_pool(export, np.array(seeds, np.int64), ProposalSettings(k=3))


@pytest.mark.parametrize("wrong", [{"k": 0}, {"max_per_artist": 0}, {"new_days": -1}, {"sharpness": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ProposalSettings(**wrong)
