"""Spectrograms to vectors, at any length and in any batch."""

from functools import partial

import numpy as np
import pytest
import torch

from tests.contracts.audio_encoder import (
    DIM,
    N_MELS,
    AudioEncoderContract,
    TrainedAudioEncoderContract,
    spectrograms,
)
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.features.sounds import Sounds
from towers.models.audio.encoder import (
    ConvAudioEncoder,
    NoAudioEncoder,
    SoundStatistics,
    StatisticsAudioEncoder,
    StatisticsPath,
)
from towers.models.audio.mobile import InvertedResidual, MobileAudioEncoder
from towers.models.audio.patch import PatchAudioEncoder
from towers.models.cost import multiply_adds, parameters

SMALL_MOBILE = {
    "dim": DIM, "channels": (4, 6, 8), "depths": (1, 2, 1), "expansions": (1, 2, 3), "kernel_size": 3, "dropout": 0.2,
}  # fmt: skip
SMALL_PATCH = {
    "dim": DIM, "width": 12, "num_layers": 2, "num_heads": 2, "patch_bands": 5, "patch_frames": 6,
    "window_frames": 50, "dropout": 0.2,
}  # fmt: skip


def linear_path(encoder, sounds):
    """Returns the output of the linear layer on a sound's statistics, which is added to the network's, with the same
    weights.
    """
    own = {name: value for name, value in encoder.state_dict().items() if name.startswith("_statistics_out.")}
    path = StatisticsPath(SoundStatistics.of_none(N_MELS), encoder.dim)
    path.load_state_dict({name.removeprefix("_statistics_out."): value for name, value in own.items()})
    return path(encoder.normalised(sounds))


class TestConv(TrainedAudioEncoderContract):
    def make(self, statistics, augmentation):
        return ConvAudioEncoder(statistics, dim=DIM, channels=(4, 6, 8, 8), dropout=0.2, augmentation=augmentation)


class TestMobile(TrainedAudioEncoderContract):
    def make(self, statistics, augmentation):
        return MobileAudioEncoder(statistics, augmentation=augmentation, **SMALL_MOBILE)

    def test_a_block_adds_to_what_comes_in_where_it_can(self):
        x = torch.randn(2, 4, 6, 7)
        assert InvertedResidual(4, 5, 1, 2, 3)(x).shape == (2, 5, 6, 7)
        assert InvertedResidual(4, 4, 2, 2, 3)(x).shape == (2, 4, 3, 4)
        block = InvertedResidual(4, 4, 1, 2, 5)
        torch.nn.init.zeros_(block.get_parameter("_project.0.weight"))
        assert torch.equal(block(x), x)  # the normalised zeros are zeros, and their bias is zero at the start

    @pytest.mark.parametrize(
        "wrong",
        [{"depths": (1, 2)}, {"expansions": (1,)}, {"channels": (), "depths": (), "expansions": ()},
         {"depths": (1, 0, 1)}, {"kernel_size": 4}, {"expansions": (0, 1, 1)}],
    )  # fmt: skip
    def test_stages_that_do_not_fit_are_refused(self, wrong):
        with pytest.raises(ValueError, match="must be"):
            MobileAudioEncoder(SoundStatistics.of_none(4), **{**SMALL_MOBILE, **wrong})


class TestPatch(TrainedAudioEncoderContract):
    def make(self, statistics, augmentation):
        return PatchAudioEncoder(statistics, augmentation=augmentation, **SMALL_PATCH)

    def test_longer_sounds_are_the_mean_of_windows_that_cover_them(self, encoder):
        """120 frames are three windows of 50 that begin at 0, 35 and 70; the linear path reads the whole."""
        sounds = spectrograms(2, 120)
        windows = [sounds[:, :, start : start + 50] for start in (0, 35, 70)]
        network = [encoder(window) - linear_path(encoder, window) for window in windows]
        expected = torch.stack(network).mean(dim=0) + linear_path(encoder, sounds)
        torch.testing.assert_close(encoder(sounds), expected, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("frames", [51, 99, 100, 101, 1_000, 1_003])
    def test_windows_leave_no_frame_out(self, encoder, frames):
        place = torch.arange(frames).float().expand(1, N_MELS, -1)
        windows = encoder.windows(place)[0, :, 0]
        assert set(windows.flatten().int().tolist()) == set(range(frames))
        assert len(windows) == -(-frames // 50)

    def test_time_and_bands_have_an_order(self, encoder):
        sounds = spectrograms(1, 48)
        for axis in (1, 2):
            turned = sounds.flip(axis)
            difference = encoder(turned) - linear_path(encoder, turned) - encoder(sounds) + linear_path(encoder, sounds)
            assert difference.abs().max() > 1e-3

    @pytest.mark.parametrize(
        "wrong", [{"width": 11}, {"num_layers": 0}, {"patch_bands": 0}, {"window_frames": 5}, {"num_heads": 5}]
    )
    def test_sizes_that_do_not_fit_are_refused(self, wrong):
        with pytest.raises(ValueError, match="must be"):
            PatchAudioEncoder(SoundStatistics.of_none(4), **{**SMALL_PATCH, **wrong})


class TestStatistics(AudioEncoderContract):
    def make(self, statistics, augmentation):
        return StatisticsAudioEncoder(statistics)

    def test_are_means_and_deviations(self):
        """There are two frames: 0 and 2 in the first band, 3 and 3 in the second, around a catalogue of mean 1,
        deviation 2.
        """
        frames = {"mean": torch.full((2,), 1.0), "std": torch.full((2,), 2.0)}
        encoder = StatisticsAudioEncoder(
            SoundStatistics(**frames, sound_mean=torch.zeros(4), sound_std=torch.tensor([1.0, 1.0, 1.0, 1.0]))
        )
        sound = torch.tensor([[[0.0, 2.0], [3.0, 3.0]]])
        assert encoder(sound).tolist() == [[0.0, 1.0, 0.5, 0.0]]
        assert encoder.dim == 4
        assert parameters(encoder) == 0


def test_without_sound():
    encoder = NoAudioEncoder(SoundStatistics.of_none(N_MELS))
    assert encoder.dim == 0
    assert encoder(spectrograms(3, 8)).shape == (3, 0)
    sounds = Sounds(records=np.zeros((1, N_MELS, 8), np.float16), rows=np.array([0, -1]))
    assert encoder.hears(np.array(["a", "b"]), sounds) is None
    assert TestConv().built().hears(np.array(["a", "b"]), sounds) is sounds


class TestSizes:
    """Sizes at the defaults, for a crop of five seconds."""

    @pytest.mark.parametrize(
        ("name", "millions", "million_multiply_adds"),
        [("mobile", (1.0, 1.5), (50, 150)), ("patch", (1.0, 5.0), (50, 150)), ("statistics", (0, 0), (0, 0))],
    )
    def test_are_those_of_a_compact_encoder(self, name, millions, million_multiply_adds):
        config = compose("train", ["data.root=somewhere", f"audio_encoder={name}"]).audio_encoder
        encoder = instantiate(config, "audio_encoder")(statistics=SoundStatistics.of_none(64))
        assert millions[0] <= parameters(encoder) / 1e6 <= millions[1]
        counted = multiply_adds(encoder, torch.zeros(1, 64, 250)) / 1e6
        assert million_multiply_adds[0] <= counted <= million_multiply_adds[1]

    def test_multiply_adds_by_hand(self):
        """There is one stage: 3 channels of 2 x 4 places, each from 3 x 3; its pooled 3 x 2 bands x 2 and 4 x 2 to
        5.
        """
        encoder = ConvAudioEncoder(SoundStatistics.of_none(4), dim=5, channels=(3,), dropout=0.5).train()
        assert multiply_adds(encoder, torch.zeros(1, 4, 8)) == 3 * 2 * 4 * 9 + 12 * 5 + 8 * 5
        assert encoder.training

    def test_attention_is_counted(self):
        """There are 6 tokens: a second layer adds 10 w^2 for each, and their products with one another, twice."""
        one, two = (
            PatchAudioEncoder(SoundStatistics.of_none(10), **{**SMALL_PATCH, "num_layers": layers}) for layers in (1, 2)
        )
        count = partial(multiply_adds, records=torch.zeros(1, 10, 18))
        assert count(two) - count(one) == 6 * 10 * 12**2 + 2 * 6 * 6 * 12
