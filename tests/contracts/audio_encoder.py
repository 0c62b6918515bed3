"""Contract of every encoder of spectrograms, on noise around a catalogue's mean."""

from abc import abstractmethod
from dataclasses import replace

import pytest
import torch

from towers.models.audio.augmentation import Augmentation
from towers.models.audio.encoder import SoundStatistics, SpectrogramEncoder
from towers.models.dropout import Dropout

N_MELS, DIM = 16, 10
STATISTICS = SoundStatistics(
    mean=torch.linspace(-8, -2, N_MELS),
    std=torch.linspace(1, 3, N_MELS),
    sound_mean=torch.linspace(0, 1, 2 * N_MELS),
    sound_std=torch.linspace(0.5, 2, 2 * N_MELS),
)


def spectrograms(sounds: int, frames: int, n_mels: int = N_MELS) -> torch.Tensor:
    return torch.randn(sounds, n_mels, frames, generator=torch.Generator().manual_seed(frames)) * 2 - 5


class AudioEncoderContract:
    """Inherit, and give a method `make`: statistics of the catalogue, augmentation -> encoder."""

    @abstractmethod
    def make(self, statistics: SoundStatistics, augmentation: Augmentation | None) -> SpectrogramEncoder: ...

    @pytest.fixture
    def encoder(self) -> SpectrogramEncoder:
        return self.built().eval()

    def built(self, statistics=STATISTICS, augmentation=None) -> SpectrogramEncoder:
        torch.manual_seed(0)
        return self.make(statistics, augmentation)

    def test_says_whether_it_learns(self, encoder) -> None:
        assert encoder.learns == any(True for _ in encoder.parameters())

    @pytest.mark.parametrize("frames", [8, 9, 15, 16, 17, 100, 501])
    def test_any_number_of_frames_from_eight_on(self, encoder, frames) -> None:
        vectors = encoder(spectrograms(2, frames))
        assert vectors.shape == (2, encoder.dim)
        assert torch.isfinite(vectors).all()

    @pytest.mark.parametrize("n_mels", [1, 9, 24])
    def test_any_number_of_bands(self, n_mels) -> None:
        encoder = self.built(SoundStatistics.of_none(n_mels))
        assert encoder(torch.randn(2, n_mels, 40)).shape == (2, encoder.dim)

    @pytest.mark.parametrize("is_training", [False, True])
    @pytest.mark.parametrize("frames", [40, 90])
    def test_one_sound_equals_the_same_among_many(self, encoder, is_training, frames) -> None:
        encoder.train(is_training)
        for module in encoder.modules():
            if isinstance(module, (torch.nn.Dropout, Dropout)):
                module.eval()
        sounds = spectrograms(5, frames)
        alone = torch.cat([encoder(sound[None]) for sound in sounds])
        torch.testing.assert_close(encoder(sounds), alone, atol=1e-5, rtol=0)

    def test_constant_sound_has_a_finite_gradient(self, encoder) -> None:
        """The deviation over time is zero everywhere, where the slope of the square root is infinite."""
        sound = spectrograms(1, 1).expand(1, N_MELS, 40).clone().requires_grad_()
        encoder(sound).sum().backward()
        assert torch.isfinite(sound.grad).all()
        assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())

    def test_the_catalogues_statistics_are_taken_out(self, encoder) -> None:
        plain = self.built(replace(STATISTICS, mean=torch.zeros(N_MELS), std=torch.ones(N_MELS))).eval()
        sounds = spectrograms(2, 40)
        normalised = (sounds - encoder.mean[:, None]) / encoder.std[:, None]
        torch.testing.assert_close(encoder(sounds), plain(normalised), atol=1e-5, rtol=0)

    def test_dropout_and_augmentation_are_off_outside_of_training(self) -> None:
        encoder = self.built(augmentation=Augmentation(gain_db=6.0, noise=0.1, time_masks=2, time_mask_frames=9))
        sounds, state = spectrograms(3, 40), torch.get_rng_state()
        torch.testing.assert_close(encoder.eval()(sounds), self.built().eval()(sounds), atol=0, rtol=0)
        assert torch.equal(torch.get_rng_state(), state)


class TrainedAudioEncoderContract(AudioEncoderContract):
    """Contract of encoders that are trained, beside the one above."""

    def test_all_parts_are_heard(self, encoder) -> None:
        encoder(spectrograms(3, 90)).square().sum().backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad.abs().sum() > 0, name

    def test_its_dimension_is_what_was_asked_for(self, encoder) -> None:
        assert encoder.dim == DIM

    def test_augmentation_is_heard_in_training(self) -> None:
        encoder = self.built(augmentation=Augmentation(gain_db=6.0)).train()
        for module in encoder.modules():
            if isinstance(module, (torch.nn.Dropout, Dropout)):
                module.eval()
        sounds = spectrograms(3, 40)
        torch.manual_seed(1)
        first, second = encoder(sounds), encoder(sounds)
        torch.manual_seed(1)
        torch.testing.assert_close(encoder(sounds), first, atol=0, rtol=0)
        assert (first - second).abs().max() > 1e-3

    def test_a_checkpoint_gives_every_bit_back(self, tmp_path) -> None:
        """The third step is the same for an encoder saved after the second, however its weights lie in memory."""

        def step(encoder, optimizer, number) -> None:
            torch.manual_seed(number)
            optimizer.zero_grad()
            encoder(spectrograms(4, 40)).square().sum().backward()
            optimizer.step()

        def made():
            encoder = self.built(augmentation=Augmentation(noise=0.1, time_masks=1, time_mask_frames=9)).train()
            return encoder, torch.optim.AdamW(encoder.parameters())

        encoder, optimizer = made()
        step(encoder, optimizer, 1)
        step(encoder, optimizer, 2)
        torch.save([encoder.state_dict(), optimizer.state_dict()], tmp_path / "saved")
        step(encoder, optimizer, 3)
        again, optimizer = made()
        weights, state = torch.load(tmp_path / "saved", weights_only=True)
        again.load_state_dict(weights)
        optimizer.load_state_dict(state)
        step(again, optimizer, 3)
        for name, parameter in again.state_dict().items():
            assert torch.equal(parameter, encoder.state_dict()[name]), name
