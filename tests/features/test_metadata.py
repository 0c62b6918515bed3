from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.features.metadata import (
    CONTENT_PARTS,
    content_values,
    duration_bucket,
    encode_values,
    part_values,
    trained_vocabulary,
)
from towers.features.settings import FeatureSettings, SpectrogramSettings

COLUMNS = {
    "kind": ["track", "episode", None],
    "artist_ids": [["a", "b"], [], None],
    "album_id": ["x", None, None],
    "genres": [["folk", None], ["jazz"], None],
    "language": ["is", None, None],
    "release_date": [date(1999, 12, 31), None, None],
    "duration_ms": [100_000, 0, None],
    "explicit": [True, False, None],
}
VALUES = st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=6)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("kind", [["track"], ["episode"], []]),
        ("artist_ids", [["a", "b"], [], []]),
        ("album_id", [["x"], [], []]),
        ("genres", [["folk"], ["jazz"], []]),
        ("language", [["is"], [], []]),
        ("release_year", [["1999"], [], []]),
        ("duration_bucket", [["13"], [], []]),
        ("explicit", [["True"], ["False"], []]),
    ],
)
def test_part_values(part, expected):
    assert part_values(part, COLUMNS) == expected


@pytest.mark.parametrize("part", CONTENT_PARTS)
def test_every_part_reads_the_columns(part):
    assert len(part_values(part, COLUMNS)) == 3


@pytest.mark.parametrize("part", CONTENT_PARTS)
def test_all_contents_at_once_give_the_values_of_each(part):
    types = {"artist_ids": pa.list_(pa.string()), "genres": pa.list_(pa.string()), "explicit": pa.bool_()}
    twice = {name: pa.array([*values, *values[::-1]], types.get(name)) for name, values in COLUMNS.items()}
    values, texts = content_values(part, pa.table(twice))
    found = [[texts[place] for place in values[index]] for index in range(len(values))]
    assert found == [*part_values(part, COLUMNS), *part_values(part, COLUMNS)[::-1]]


@given(st.lists(st.integers(1, 10**9)).map(sorted))
def test_longer_is_never_a_lower_bucket(durations):
    buckets = [int(duration_bucket(duration)) for duration in durations]
    assert buckets == sorted(buckets)


@given(st.data(), VALUES)
def test_codes_stand_for_what_training_has_seen(data, values):
    seen = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    known = sorted({value for several, is_seen in zip(values, seen, strict=True) if is_seen for value in several})
    column = pa.table({"genres": pa.array(values, pa.list_(pa.string()))})
    found, texts = content_values("genres", column)
    vocabulary = trained_vocabulary(found, texts, np.array(seen, dtype=bool))
    codes = encode_values(found, texts, vocabulary)
    assert len(vocabulary) == len(known) + 1
    expected = [[known.index(value) + 1 for value in several if value in known] for several in values]
    assert [codes[index].tolist() for index in range(len(codes))] == expected


class TestSettings:
    def make(self, **changes):
        values = {
            "min_played_fraction": 0.5,
            "content_parts": ("kind",),
            "user_columns": ("country",),
            "spectrogram": SpectrogramSettings(),
        }
        return FeatureSettings(**{**values, **changes})

    def test_come_back_after_json(self):
        import json

        settings = self.make(content_parts=CONTENT_PARTS)
        assert FeatureSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings

    def test_frames(self):
        assert SpectrogramSettings(sample_rate=16_000, hop_length=320, record_s=10.0).num_frames == 500

    def test_one_crop_is_not_written(self):
        """Metadata written before crops could be chosen stay the same."""
        spectrogram = self.make().to_dict()["spectrogram"]
        assert set(spectrogram) == {"sample_rate", "n_fft", "hop_length", "n_mels", "record_s"}
        several = self.make(spectrogram=SpectrogramSettings(num_crops=4))
        assert several.to_dict()["spectrogram"] == {**spectrogram, "num_crops": 4}
        assert FeatureSettings.from_dict(several.to_dict()) == several

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"num_crops": 0}, "num_crops=0: must be at least 1"),
            ({"num_crops": 3}, "num_crops=3: a record has 500 frames"),
            ({"num_crops": 250}, "num_crops=250: crops are shorter than a window of 1024"),
            ({"n_mels": 0}, "n_mels=0: must be at least 1"),
            ({"hop_length": -1}, "hop_length=-1: must be at least 1"),
            ({"record_s": 0.0}, r"record_s=0\.0: shorter than a frame of 320"),
        ],
    )
    def test_a_spectrogram_that_cannot_be(self, changes, words):
        with pytest.raises(UserError, match=rf"^features\.spectrogram\.{words}"):
            SpectrogramSettings(**changes)

    def test_an_unknown_part(self):
        with pytest.raises(UserError, match=r"features\.content_parts: no part 'tempo'"):
            self.make(content_parts=("tempo",))

    @pytest.mark.parametrize("fraction", [-0.1, 1.1])
    def test_a_fraction_out_of_range(self, fraction):
        with pytest.raises(UserError, match=r"features\.min_played_fraction"):
            self.make(min_played_fraction=fraction)
