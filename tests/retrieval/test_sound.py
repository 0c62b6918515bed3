"""Serving reads sound as `prepare` does: the same stretches, resampled to the same samples, and the same refusals."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data.audio.log_mel import LogMel, read_crops, record_from, resampler
from towers.features.settings import SpectrogramSettings
from towers.features.sound import UnusableSound
from towers.retrieval.sound import crops_of, laid_out, resample, waveform_of

SETTINGS = SpectrogramSettings(sample_rate=8_000, n_fft=256, hop_length=80, n_mels=16, record_s=1.0)
IN_CROPS = SpectrogramSettings(sample_rate=8_000, n_fft=256, hop_length=80, n_mels=16, record_s=1.0, num_crops=4)


def noise(samples: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(samples).normal(scale=0.1, size=(samples, *channels)).astype(np.float32)


@pytest.mark.parametrize("rate", [6_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("samples", [1, 999, 30_001])
def test_resampled_as_torchaudio_does(rate: int, samples: int) -> None:
    waveform = noise(samples)
    expected = resampler(rate, 8_000)(torch.from_numpy(waveform)).numpy()
    found = resample(waveform, rate, 8_000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_rates_without_a_common_divisor_are_left_to_soxr() -> None:
    assert len(resample(noise(44_101), 44_101, 16_000)) == pytest.approx(16_000, abs=1)


@pytest.mark.parametrize("settings", [SETTINGS, IN_CROPS])
@pytest.mark.parametrize(("samples", "channels"), [(3_000, 1), (22_050, 2), (22_051, 1), (90_000, 2)])
def test_a_file_and_its_samples_are_one(tmp_path, settings, samples, channels) -> None:
    waveform = noise(samples, channels)
    soundfile.write(tmp_path / "sound.wav", waveform, 22_050, subtype="FLOAT")
    from_file = waveform_of(tmp_path / "sound.wav", settings)
    np.testing.assert_allclose(waveform_of((waveform, 22_050), settings), from_file, atol=1e-6)
    records = [
        record_from(crops, LogMel(settings), settings).astype(np.float32)
        for crops in (
            read_crops(tmp_path / "sound.wav", settings)[0],
            [torch.from_numpy(crop) for crop in crops_of(tmp_path / "sound.wav", settings)],
        )
    ]
    np.testing.assert_allclose(records[0], records[1], atol=0.01)  # a step of float16


@given(st.integers(1, 8), st.integers(1, 4_000), st.integers(0, 30_000))
def test_several_crops_lie_where_the_tower_cuts(num_crops: int, wanted: int, extra: int) -> None:
    """The middles of equal stretches of the joined sound are the crops themselves."""
    settings = SpectrogramSettings(sample_rate=wanted, n_fft=1, hop_length=1, n_mels=1, record_s=1.0)
    if wanted % num_crops or num_crops == 1:
        return
    settings = SpectrogramSettings(
        sample_rate=wanted, n_fft=1, hop_length=1, n_mels=1, record_s=1.0, num_crops=num_crops
    )
    length = wanted // num_crops
    crops = [np.full(length + extra % 3 - 1, crop, np.float32) for crop in range(num_crops)]
    if not len(crops[0]):
        return
    laid = laid_out(crops, settings)
    assert len(laid) > wanted
    for crop in range(num_crops):
        start = ((2 * crop + 1) * len(laid) - num_crops * length) // (2 * num_crops)
        assert set(laid[start : start + length].tolist()) == {float(crop)}


@pytest.mark.parametrize(
    ("sound", "reason"),
    [((noise(100), 8_000), "too short"), ((np.zeros(8_000, np.float32), 8_000), "silent"),
     ((np.full(8_000, np.nan, np.float32), 8_000), "not finite"), ((noise(8_000, 2, 2), 8_000), "dimensions"),
     ((np.ones(8_000, np.int16), 8_000), "int16"), ((noise(8_000), 0), "0 Hz")],
)  # fmt: skip
def test_what_will_not_do_is_refused(sound, reason) -> None:
    with pytest.raises(UnusableSound, match=reason):
        waveform_of(sound, SETTINGS)


def test_a_file_that_is_no_sound_is_refused(tmp_path) -> None:
    (tmp_path / "sound.ogg").write_bytes(b"no sound")
    with pytest.raises(UnusableSound, match="does not decode"):
        waveform_of(tmp_path / "sound.ogg", SETTINGS)


def test_decoding_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import towers.retrieval.sound, towers.retrieval.raw_contents"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
