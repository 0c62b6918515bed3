import numpy as np

from towers.features.ragged import Ragged
from towers.publishing.owners import place_owners

TRACK_A, TRACK_B, ARTIST, FAMOUS_ARTIST, EMPTY_ARTIST = range(5)
VECTORS = np.array([[1, 0], [0, 1], [0, -1], [0, -1], [0, -1]], dtype=np.float32)
MEMBERS = Ragged.from_lists([[], [], [TRACK_A, TRACK_B], [TRACK_A], []])
HAS_OWN = np.array([True, True, False, True, False])


def test_an_artist_is_the_normalised_mean_of_their_contents() -> None:
    placed = VECTORS.copy()
    place_owners(placed, MEMBERS, HAS_OWN)
    np.testing.assert_allclose(placed[ARTIST], np.array([1, 1]) / np.sqrt(2), atol=1e-6)


def test_who_has_a_trained_vector_or_no_members_keeps_their_own() -> None:
    placed = VECTORS.copy()
    place_owners(placed, MEMBERS, HAS_OWN)
    for row in (TRACK_A, TRACK_B, FAMOUS_ARTIST, EMPTY_ARTIST):
        np.testing.assert_array_equal(placed[row], VECTORS[row])


def test_members_that_cancel_out_leave_the_owner_in_place() -> None:
    opposite = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    placed = opposite.copy()
    place_owners(placed, Ragged.from_lists([[], [], [0, 1]]), np.array([True, True, False]))
    np.testing.assert_array_equal(placed[2], opposite[2])
