"""Settings of training batches: an invalid one is refused by its key."""

import pytest

from tests.data.batch_contents import parts_of
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.data.datamodule import DataModule
from towers.errors import UserError
from towers.features.settings import SpectrogramSettings


@pytest.mark.parametrize("name", ["max_length", "max_tokens", "lookahead"])
def test_nothing_is_no_length(name):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got 0"):
        parts_of({name: 0})


@pytest.mark.parametrize(("name", "zero", "less"), [("repeat_weight", 0.0, -0.1), ("num_workers", 0, -1)])
def test_no_number_is_below_zero(name, zero, less):
    assert parts_of({name: zero})
    with pytest.raises(ValueError, match=f"^{name} must be 0 or more, got {less}"):
        parts_of({name: less})


def test_a_crop_is_given_in_seconds():
    spectrogram = SpectrogramSettings(sample_rate=8_000, hop_length=80)
    assert parts_of({"crop_s": 0.5})[0].crop_frames(spectrogram) == 50
    with pytest.raises(UserError, match=r"^datamodule: crop_s=0\.001 is shorter than a frame of 80 samples"):
        parts_of({"crop_s": 0.001})[0].crop_frames(spectrogram)


def test_a_crop_that_is_longer_than_a_record_is_told():
    spectrogram = SpectrogramSettings(sample_rate=8_000, hop_length=80, record_s=10.0)
    (told,) = parts_of({"crop_s": 20.0})[0].remarks(spectrogram)
    assert told.startswith("datamodule.crop_s=20.0 is more than features.spectrogram.record_s=10.0, ")
    assert parts_of({"crop_s": 10.0})[0].remarks(spectrogram) == []


GIVEN = ("datamodule.max_tokens=8192", "datamodule.num_fresh_sounds=64")
"""Settings that follow from the data unless they are given."""


def test_the_file_gives_settings():
    config = compose(
        "train",
        ["data.root=somewhere", *GIVEN, "datamodule.max_length=30", "datamodule.crop_s=1"],
    )
    settings = instantiate(config.datamodule, "datamodule")
    assert isinstance(settings, DataModule)
    assert (settings.max_length, settings.crop_s) == (30, 1.0)


def test_a_value_that_will_not_do_names_the_key():
    config = compose("train", ["data.root=somewhere", *GIVEN, "datamodule.lookahead=0"])
    with pytest.raises(UserError, match=r"^datamodule: lookahead must be at least 1, got 0"):
        instantiate(config.datamodule, "datamodule")
