"""Sound files to log-mel spectrograms, and files that are no sound."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from tests.data.raw_set import tone
from towers.data.audio.log_mel import FLOOR, LogMel, UnusableSound, read_crops, record_from
from towers.features.settings import SpectrogramSettings

SETTINGS = SpectrogramSettings(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=32, record_s=0.5)
FRAMES = 50


def spectrogram_of(path, log_mel, settings):
    return record_from(read_crops(path, settings)[0], log_mel, settings)


@pytest.fixture(scope="module")
def log_mel():
    return LogMel(SETTINGS)


def mel_filters(settings):
    """Returns triangles between points at equal distances on the HTK mel scale."""
    bins_hz = np.linspace(0, settings.sample_rate / 2, settings.n_fft // 2 + 1)
    top = 2595 * np.log10(1 + settings.sample_rate / 2 / 700)
    points = 700 * (10 ** (np.linspace(0, top, settings.n_mels + 2) / 2595) - 1)
    rising = (bins_hz - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - bins_hz) / np.diff(points)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


def slow_log_mel(waveform, settings):
    """Computes the log-mel spectrogram in float64, a frame at a time."""
    half = settings.n_fft // 2
    padded = np.pad(waveform.astype(np.float64), half, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(settings.n_fft) / settings.n_fft)
    frames = []
    for start in range(0, len(waveform) + 1, settings.hop_length):
        power = np.abs(np.fft.rfft(window * padded[start : start + settings.n_fft])) ** 2
        frames.append(mel_filters(settings) @ power)
    return np.log(np.stack(frames, axis=1) + FLOOR)


def band_of(frequency_hz):
    """Returns the mel band whose middle is nearest."""
    return int(mel_filters(SETTINGS)[:, round(frequency_hz / SETTINGS.sample_rate * SETTINGS.n_fft)].argmax())


def loudest_band(record):
    return int(record.astype(np.float64).mean(axis=1).argmax())


class TestLogMel:
    @pytest.mark.parametrize("samples", [8_000, 4_321])
    def test_equals_the_slow_way(self, log_mel, samples):
        waveform = np.random.default_rng(0).normal(0, 0.3, samples).astype(np.float32)
        found = log_mel(torch.from_numpy(waveform)).numpy()
        assert found.shape == (32, samples // 160 + 1)
        np.testing.assert_allclose(found, slow_log_mel(waveform, SETTINGS), atol=2e-4)

    def test_a_batch_equals_one_by_one(self, log_mel):
        waveforms = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (3, 4_000)).astype(np.float32))
        torch.testing.assert_close(log_mel(waveforms), torch.stack([log_mel(waveform) for waveform in waveforms]))

    def test_silence_is_the_floor(self, log_mel):
        assert torch.allclose(log_mel(torch.zeros(4_000)), torch.tensor(FLOOR).log())

    @pytest.mark.parametrize(
        ("sample_rate", "hop_length", "n_mels", "record_s", "shape"),
        [(16_000, 160, 32, 0.5, (32, 50)), (8_000, 80, 16, 1.0, (16, 100)), (22_050, 441, 24, 0.99, (24, 49))],
    )
    def test_the_settings_give_the_shape(self, tmp_path, sample_rate, hop_length, n_mels, record_s, shape):
        settings = SpectrogramSettings(
            sample_rate=sample_rate, n_fft=512, hop_length=hop_length, n_mels=n_mels, record_s=record_s
        )
        soundfile.write(tmp_path / "a.wav", tone(440, 2.0, sample_rate), sample_rate)
        record = spectrogram_of(tmp_path / "a.wav", LogMel(settings), settings)
        assert record.shape == shape
        assert record.dtype == np.float16


class TestSound:
    @pytest.fixture
    def record_of(self, tmp_path, log_mel):
        def record(samples, rate_hz, name="sound.wav", **how):
            soundfile.write(tmp_path / name, samples, rate_hz, **how)
            return spectrogram_of(tmp_path / name, log_mel, SETTINGS)

        return record

    @pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
    @pytest.mark.parametrize("frequency_hz", [500, 3_000])
    def test_a_tone_keeps_its_band_at_any_rate(self, record_of, rate_hz, frequency_hz):
        record = record_of(tone(frequency_hz, 1.0, rate_hz), rate_hz)
        assert record.shape == (32, FRAMES)
        assert loudest_band(record) == band_of(frequency_hz)

    @pytest.mark.parametrize("rate_hz", [44_101, 7_919])
    def test_a_rate_that_shares_no_factor_is_no_trouble(self, record_of, rate_hz):
        """It does not take gigabytes and minutes either."""
        assert loudest_band(record_of(tone(1_000, 1.0, rate_hz), rate_hz)) == band_of(1_000)

    def test_both_ways_to_resample_agree(self, record_of, monkeypatch):
        samples = tone(700, 1.0, 44_100) + tone(2_500, 1.0, 44_100)
        usual = record_of(samples, 44_100)
        monkeypatch.setattr("towers.data.audio.log_mel.MAX_KERNEL", 0)
        other = record_of(samples, 44_100)
        is_heard = usual > -4  # below are the tails of the filters
        assert is_heard.sum() > 300
        assert np.abs(usual.astype(np.float64) - other)[is_heard].max() < 0.1

    @pytest.mark.parametrize("name", ["sound.wav", "sound.flac", "sound.ogg", "sound.mp3"])
    def test_containers(self, record_of, name):
        assert loudest_band(record_of(tone(1_000, 1.0, 16_000), 16_000, name)) == band_of(1_000)

    def test_what_is_above_half_the_rate_does_not_fold_down(self, record_of):
        low, high = tone(500, 1.0, 48_000), tone(15_500, 1.0, 48_000)  # 15.5 kHz would fold to 500 Hz
        both, alone = record_of(0.1 * low + high, 48_000), record_of(0.1 * low, 48_000)
        assert np.abs(both[:16, 5:-5].astype(np.float64) - alone[:16, 5:-5]).max() < 1.5

    def test_stereo_is_mixed(self, record_of):
        left, right = tone(500, 1.0, 16_000), tone(3_000, 1.0, 16_000)
        stereo = record_of(np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
        mono = record_of((left + right) / 2, 16_000, "mono.wav", subtype="FLOAT")
        np.testing.assert_allclose(stereo, mono, atol=0.02)

    def test_the_middle_of_longer_sound_is_kept(self, record_of):
        parts = [tone(3_000, 1.0, 16_000), tone(500, 0.5, 16_000), tone(3_000, 1.0, 16_000)]
        record = record_of(np.concatenate(parts), 16_000)
        assert all(loudest_band(record[:, [frame]]) == band_of(500) for frame in range(2, FRAMES - 2))

    def test_shorter_sound_is_repeated(self, record_of):
        record = record_of(np.concatenate([tone(500, 0.1, 16_000), tone(3_000, 0.1, 16_000)]), 16_000)
        bands = [loudest_band(record[:, [frame]]) for frame in (5, 15, 25, 35, 45)]
        low, high = band_of(500), band_of(3_000)
        assert bands == [low, high, low, high, low]


class TestCrops:
    """A record of a long sound holds several short stretches, and nothing between them is decoded."""

    SETTINGS = replace(SETTINGS, num_crops=5)

    @pytest.fixture
    def record_of(self, tmp_path, log_mel):
        def record(samples, settings=self.SETTINGS, name="sound.wav"):
            soundfile.write(tmp_path / name, samples, 16_000)
            return spectrogram_of(tmp_path / name, log_mel, settings)

        return record

    @pytest.mark.parametrize("name", ["sound.wav", "sound.flac", "sound.ogg", "sound.mp3"])
    def test_are_the_middles_of_equal_stretches(self, record_of, name):
        """The crops lie inside: mp3 may need earlier frames, so that after a seek a steady tone is mute for a while."""
        frequencies_hz = [500, 3_000, 1_000, 5_000, 700]
        sound = np.concatenate([tone(hz, 3.0, 16_000) for hz in frequencies_hz])
        record = record_of(sound, replace(SETTINGS, num_crops=5, record_s=5.0), name)
        assert record.shape == (32, 500)
        bands = [loudest_band(record[:, 100 * crop + 40 : 100 * crop + 98]) for crop in range(5)]
        assert bands == [band_of(hz) for hz in frequencies_hz]

    def test_each_has_a_log_mel_of_its_own(self, record_of, log_mel):
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 3).astype(np.float32)
        record = record_of(sound)
        heard = torch.from_numpy((np.round(sound * 32_768) / 32_768).astype(np.float32))  # 16 bits, as written
        for crop in range(5):
            start = (2 * crop + 1) * 16_000 * 3 // 10 - 800  # 0.1 s around the middle of a fifth
            alone = log_mel(heard[start : start + 1_600])[:, :10]
            np.testing.assert_allclose(record[:, 10 * crop : 10 * crop + 10], alone, atol=0.02)

    def test_one_is_the_middle(self, record_of):
        """It equals, to the bit, the record from before crops could be chosen."""
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 2)
        middle = sound[12_000:20_000]
        np.testing.assert_array_equal(record_of(sound, SETTINGS), record_of(middle, SETTINGS))

    @pytest.mark.parametrize("seconds", [0.2, 0.5])
    def test_sound_that_fits_is_not_cut(self, record_of, seconds):
        sound = tone(500, seconds, 16_000) + tone(2_000, seconds, 16_000)
        np.testing.assert_array_equal(record_of(sound), record_of(sound, SETTINGS))

    @pytest.mark.parametrize("samples", [8_001, 8_004, 8_011, 9_999])
    @pytest.mark.parametrize("num_crops", [2, 5, 10])
    def test_sound_that_barely_does_not_fit(self, record_of, samples, num_crops):
        record = record_of(tone(1_000, 1.0, 16_000)[:samples], replace(SETTINGS, num_crops=num_crops))
        assert record.shape == (32, FRAMES)
        inner = [frame for frame in range(FRAMES) if frame % (FRAMES // num_crops) in (2, 3)]  # no edge in the window
        assert all(loudest_band(record[:, [frame]]) == band_of(1_000) for frame in inner)

    def test_nothing_else_is_decoded(self, tmp_path, monkeypatch):
        read = []

        class Counting(soundfile.SoundFile):
            def read(self, frames=-1, *rest, **keywords):
                read.append((self.tell(), frames))
                return super().read(frames, *rest, **keywords)

        soundfile.write(tmp_path / "long.flac", tone(440, 60.0, 8_000), 8_000)
        monkeypatch.setattr(soundfile, "SoundFile", Counting)
        crops, _ = read_crops(tmp_path / "long.flac", self.SETTINGS)
        assert [len(crop) for crop in crops] == 5 * [1_600]
        ends = [(8_000 * 60 - 1, 1)]  # whether it is there
        assert read == ends + [(8_000 * second - 400, 800) for second in (6, 18, 30, 42, 54)]

    def test_some_may_be_silent(self, record_of):
        record = record_of(np.concatenate([np.zeros(32_000), tone(500, 1.0, 16_000)]))
        assert loudest_band(record) == band_of(500)
        assert record[:, :10].max() == np.float16(np.log(FLOOR))

    @pytest.mark.parametrize("second", [0, 1, 2])
    def test_one_that_is_not_finite_spoils_all(self, tmp_path, log_mel, second):
        sound = tone(500, 5.0, 16_000)
        sound[16_000 * second + 8_000] = np.nan
        soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
        with pytest.raises(UnusableSound, match="not finite"):
            spectrogram_of(tmp_path / "a.wav", log_mel, self.SETTINGS)


class TestUnusable:
    @pytest.fixture
    def reason(self, tmp_path, log_mel):
        def judge(path):
            with pytest.raises(UnusableSound) as raised:
                spectrogram_of(path, log_mel, SETTINGS)
            assert "\n" not in str(raised.value)
            return str(raised.value)

        return judge

    @pytest.fixture
    def written(self, tmp_path):
        def write(samples, rate_hz=16_000, name="sound.wav", **how):
            soundfile.write(tmp_path / name, samples, rate_hz, **how)
            return tmp_path / name

        return write

    def test_silence(self, reason, written):
        assert reason(written(np.zeros(16_000))) == "silent"

    def test_too_short(self, reason, written):
        assert reason(written(tone(440, 0.05, 16_000))) == "too short: 0.050 s"

    def test_no_sample_at_all(self, reason, written):
        assert reason(written(np.zeros(0))) == "too short: 0.000 s"

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, reason, written, value):
        samples = tone(440, 1.0, 16_000)
        samples[8_000] = value
        assert "finite" in reason(written(samples, subtype="FLOAT"))

    def test_so_loud_that_its_power_is_not_finite(self, reason, written):
        assert "finite" in reason(written(1e25 * tone(440, 1.0, 16_000), subtype="FLOAT"))

    def test_text_called_mp3(self, reason, tmp_path):
        (tmp_path / "song.mp3").write_text("la la la\n" * 1_000)
        assert reason(tmp_path / "song.mp3").startswith("does not decode")

    def test_empty_file(self, reason, tmp_path):
        (tmp_path / "song.flac").write_bytes(b"")
        assert reason(tmp_path / "song.flac").startswith("does not decode")

    def test_missing_file(self, reason, tmp_path):
        assert reason(tmp_path / "nowhere.flac") == f"no such file: {tmp_path / 'nowhere.flac'}"

    def test_a_folder(self, reason, tmp_path):
        assert reason(tmp_path) == f"is no file: {tmp_path}"

    def test_a_file_cut_short_within_its_header(self, reason, written):
        path = written(tone(440, 1.0, 16_000), name="song.ogg")
        path.write_bytes(path.read_bytes()[:100])
        assert reason(path).startswith("does not decode")


def test_waveform_has_the_rate_of_the_settings(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(440, 0.3, 8_000), 8_000)
    (waveform,), remark = read_crops(tmp_path / "a.wav", SETTINGS)
    assert remark is None
    assert len(waveform) == round(0.3 * 16_000)
