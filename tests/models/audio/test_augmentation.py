"""The changes that augmentation makes, and their size; switched off, it changes nothing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.models.audio.augmentation import Augmentation

MEAN = torch.linspace(-9, -7, 8)
SOUND = torch.randn(5, 8, 40, generator=torch.Generator().manual_seed(0))
"""Sound above the mean everywhere, so that a mask differs from it."""
EVERYTHING = {
    "gain_db": 6.0, "noise": 0.5, "time_masks": 2, "time_mask_frames": 9, "frequency_masks": 1,
    "frequency_mask_bands": 3,
}  # fmt: skip


def augmented(sound=SOUND, seed=0, **settings):
    torch.manual_seed(seed)
    return Augmentation(**settings).train()(sound, MEAN)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(**EVERYTHING).eval()])
def test_off_is_exactly_off(augmentation):
    state = torch.get_rng_state()
    assert augmentation(SOUND, MEAN) is SOUND
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["time_masks", "time_mask_frames", "frequency_masks", "frequency_mask_bands"])
def test_masks_of_no_number_or_no_width_are_off(name):
    assert augmented(**{name: 3}) is SOUND


@given(
    st.integers(1, 3), st.integers(1, 60), st.integers(0, 2**16), st.integers(1, 50), st.sampled_from(["time", "bands"])
)
def test_masks_keep_their_bounds_and_the_mean_lies_under_them(masks, widest, seed, frames, axis):
    sound = SOUND[:, :, :1].expand(-1, -1, frames).clone()
    if axis == "time":
        found = augmented(sound, seed, time_masks=masks, time_mask_frames=widest)
    else:
        found = augmented(sound, seed, frequency_masks=masks, frequency_mask_bands=widest)
    is_hidden = found == MEAN[:, None]
    assert torch.equal(found, torch.where(is_hidden, MEAN[:, None], sound))
    places = is_hidden.all(dim=1) if axis == "time" else is_hidden.all(dim=2)
    assert torch.equal(is_hidden, (places[:, None, :] if axis == "time" else places[:, :, None]).expand_as(is_hidden))
    size = places.shape[1]
    assert places.sum(dim=1).max() <= masks * min(widest, size // 2)
    starts = (places & ~torch.nn.functional.pad(places, (1, -1))).sum(dim=1)
    assert starts.max() <= masks


def test_masks_reach_every_place_and_their_full_width():
    found = augmented(SOUND[:1].expand(5_000, -1, -1), time_masks=1, time_mask_frames=9)
    is_hidden = (found == MEAN[:, None]).all(dim=1)
    assert is_hidden.any(dim=0).all()
    assert set(is_hidden.sum(dim=1).tolist()) == set(range(10))


def test_gain_moves_a_whole_sound_by_decibels():
    shift = augmented(gain_db=6.0) - SOUND
    in_db = shift * 10 / math.log(10)
    assert in_db.abs().max() <= 6.0 + 1e-4
    torch.testing.assert_close(shift, shift[:, :1, :1].expand_as(shift), atol=1e-5, rtol=0)
    assert len(set(shift[:, 0, 0].tolist())) == 5
    many = augmented(SOUND[:1].expand(2_000, -1, -1), gain_db=6.0) - SOUND[:1]
    assert many.min() < -5.5 * math.log(10) / 10 < 5.5 * math.log(10) / 10 < many.max()


def test_noise_adds_power_up_to_its_share():
    """The share is uniform from 0 to its greatest, so half of that on average."""
    sound = SOUND[:1].expand(4_000, -1, -1)
    added = augmented(sound, noise=0.5).double().exp() - sound.double().exp()
    share = added.mean(dim=(1, 2)) / sound[0].double().exp().mean()
    assert added.min() > -1e-4
    assert share.mean().item() == pytest.approx(0.25, abs=0.01)
    assert share.max() < 0.5 * 1.3  # the mean of 320 cells deviates by a share of 0.06


def test_a_seed_gives_the_same_and_sounds_differ():
    first, again, other = (augmented(seed=seed, **EVERYTHING) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    same = augmented(SOUND[:1].expand(2, -1, -1), **EVERYTHING)
    assert not torch.equal(same[0], same[1])
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_what_is_negative_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name} must be 0 or more"):
        Augmentation(**{name: -EVERYTHING[name]})
