"""Spectrograms to vectors, of any length and in any company."""

import pytest
import torch

from towers.models.audio_encoder import ConvAudioEncoder, NoAudioEncoder

N_MELS, DIM = 16, 10


@pytest.fixture
def encoder():
    return make(torch.linspace(-8, -2, N_MELS), torch.linspace(1, 3, N_MELS))


def make(mean, std):
    torch.manual_seed(0)
    return ConvAudioEncoder(mean=mean, std=std, dim=DIM, channels=(4, 6, 8, 8), dropout=0.2).eval()


def spectrograms(sounds, frames):
    return torch.randn(sounds, N_MELS, frames, generator=torch.Generator().manual_seed(frames)) * 2 - 5


@pytest.mark.parametrize("frames", [8, 9, 15, 16, 17, 100, 501])
def test_any_number_of_frames_from_eight_on(encoder, frames):
    vectors = encoder(spectrograms(2, frames))
    assert vectors.shape == (2, DIM)
    assert torch.isfinite(vectors).all()


@pytest.mark.parametrize("n_mels", [1, 9, 24])
def test_any_number_of_bands(n_mels):
    encoder = ConvAudioEncoder(torch.zeros(n_mels), torch.ones(n_mels), dim=3, channels=(2, 2, 2, 2, 2), dropout=0.0)
    assert encoder(torch.randn(2, n_mels, 40)).shape == (2, 3)


@pytest.mark.parametrize("is_training", [False, True])
def test_one_sound_equals_the_same_among_many(encoder, is_training):
    encoder.train(is_training)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    sounds = spectrograms(5, 40)
    alone = torch.cat([encoder(sound[None]) for sound in sounds])
    torch.testing.assert_close(encoder(sounds), alone, atol=1e-5, rtol=0)


def test_constant_sound_has_a_finite_gradient(encoder):
    """Every deviation over time is zero, where the root's slope has no end."""
    sound = spectrograms(1, 1).expand(1, N_MELS, 40).clone().requires_grad_()
    encoder(sound).sum().backward()
    assert torch.isfinite(sound.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_the_catalogues_statistics_are_taken_out(encoder):
    plain = make(torch.zeros(N_MELS), torch.ones(N_MELS))
    sounds = spectrograms(2, 40)
    normalised = (sounds - encoder.mean[:, None]) / encoder.std[:, None]
    torch.testing.assert_close(encoder(sounds), plain(normalised), atol=1e-5, rtol=0)


def test_both_paths_are_heard(encoder):
    encoder(spectrograms(3, 40)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_without_sound():
    encoder = NoAudioEncoder(mean=torch.zeros(N_MELS), std=torch.ones(N_MELS))
    assert encoder.dim == 0
    assert encoder(spectrograms(3, 8)).shape == (3, 0)
