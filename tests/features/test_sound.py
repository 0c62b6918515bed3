"""Reading sound files: as much as decodes, with any header, and never a file that is no sound."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.features.sound_files import (
    CUT,
    PART_S,
    RATE_HZ,
    SECONDS,
    TONES_HZ,
    WRONG_LENGTHS,
    half,
    sound,
    variable_mp3,
    with_flac_length,
    with_xing_frames,
    written,
)
from towers.features import sound_file
from towers.features.settings import SpectrogramSettings
from towers.features.sound import UnusableSound, read_stretches

WHOLE = SpectrogramSettings(record_s=60.0)
MIDDLE = SpectrogramSettings(record_s=1.0)
CROPS = SpectrogramSettings(record_s=7.0, num_crops=7)


def loudest_hz(mono: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(mono * np.hanning(len(mono)))).argmax() * rate / len(mono))


def frequencies_of(path: Path, settings: SpectrogramSettings) -> list[float]:
    stretches = read_stretches(path, settings)
    return [loudest_hz(mono[len(mono) // 4 : -len(mono) // 4], stretches.rate) for mono in stretches.mono]


@pytest.fixture
def file_of(tmp_path):
    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", WRONG_LENGTHS)
class TestWrongLengths:
    def test_all_of_it_is_heard(self, file_of, name):
        found = read_stretches(file_of(name, WRONG_LENGTHS[name]()), WHOLE)
        assert sum(map(len, found.mono)) / found.rate == pytest.approx(SECONDS, abs=0.15)
        assert found.remark is None

    def test_the_middle_is_the_middle(self, file_of, name):
        path = file_of(name, WRONG_LENGTHS[name]())
        assert frequencies_of(path, MIDDLE) == [pytest.approx(TONES_HZ[3], abs=10)]
        assert frequencies_of(path, CROPS)[1:] == [pytest.approx(hz, abs=10) for hz in TONES_HZ[1:]]


class TestCutShort:
    @pytest.mark.parametrize("name", CUT)
    def test_what_decodes_is_heard_and_the_rest_is_told(self, file_of, name):
        path = file_of(name, half(written(CUT[name])))
        found = read_stretches(path, WHOLE)
        assert sum(map(len, found.mono)) / found.rate == pytest.approx(SECONDS / 2, abs=1.5)
        assert found.remark is not None
        assert found.remark.startswith("cut short: ")
        assert frequencies_of(path, MIDDLE) == [pytest.approx(TONES_HZ[1], abs=10)]

    def test_a_header_that_promises_more_frames(self, file_of):
        found = read_stretches(file_of("a.mp3", with_xing_frames(variable_mp3(), 3)), WHOLE)
        assert found.remark == "cut short: 14.0 of 42.1 s decode"
        assert len(found.mono[0]) / RATE_HZ == pytest.approx(SECONDS, abs=0.15)

    def test_of_several_streams_in_a_row_the_first_is_heard(self, file_of):
        """Radio stations send such files."""
        first, second = written("OGG"), written("OGG")
        assert first[14:18] != second[14:18]
        found = read_stretches(file_of("a.ogg", first + second), WHOLE)
        assert found.remark == "cut short: its end is missing or stands by itself, 14.0 s decode"

    def test_damage_in_the_middle_ends_it(self, file_of):
        content = bytearray(written("FLAC"))
        place = len(content) * 3 // 4
        content[place : place + 40_000] = bytes(40_000)
        found = read_stretches(file_of("a.flac", bytes(content)), WHOLE)
        heard = found.mono[0]
        assert 0.5 * SECONDS < len(heard) / RATE_HZ < SECONDS
        assert found.remark == f"cut short: {len(heard) / RATE_HZ:.1f} of 14.0 s decode"
        np.testing.assert_allclose(heard, sound()[: len(heard)], atol=1e-4)

    def test_nothing_of_it(self, file_of):
        with pytest.raises(UnusableSound, match=r"^(does not decode|too short)"):
            read_stretches(file_of("a.flac", with_flac_length(written("FLAC"), 0)[:200]), WHOLE)


class TestNoSound:
    @pytest.mark.parametrize("name", ["a.raw", "A.RAW", "a.pcm", "a.txt", "a.wav", "a", "a.m4a", "a.mp3"])
    @pytest.mark.parametrize("content", [b"", b"\0\1" * 8_000, b"la la la\n" * 1_000])
    def test_is_refused_in_a_line(self, file_of, name, content):
        with pytest.raises(UnusableSound, match=r"^(does not decode|too short): \S[^\n]*$"):
            read_stretches(file_of(name, content), WHOLE)

    def test_bare_samples_are_told_from_damage(self, file_of):
        with pytest.raises(UnusableSound, match="bare samples, whose rate and format are unknown"):
            read_stretches(file_of("a.raw", b"\0\1" * 8_000), WHOLE)

    def test_a_wav_by_the_name_of_raw_is_a_wav(self, file_of):
        assert frequencies_of(file_of("a.raw", written("WAV")), MIDDLE) == [pytest.approx(TONES_HZ[3], abs=10)]

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.wav")
        for path in (tmp_path / "pipe.wav", tmp_path, Path("/dev/zero")):
            with pytest.raises(UnusableSound, match="is no file"):
                read_stretches(path, WHOLE)


class TestMix:
    @pytest.mark.parametrize("container", ["WAV", "OGG"])
    @pytest.mark.parametrize("loudness", [1.0, 0.999])
    def test_channels_that_cancel_give_the_loudest(self, file_of, container, loudness):
        one = sound()
        both = np.stack([loudness * one, -one], axis=1)
        found = read_stretches(file_of("a.wav", written(container, both)), WHOLE)
        assert found.remark == "channels cancel each other when mixed to mono: the loudest is taken"
        assert abs(np.corrcoef(found.mono[0], one)[0, 1]) > 0.9
        assert np.std(found.mono[0]) == pytest.approx(np.std(one), rel=0.1)

    @pytest.mark.parametrize("channels", [(1, 0), (0, 1, 0, 0, 0, 0, 0, 0), (1, 1), (1, -0.5), (0.3, 0.2, -0.1)])
    def test_others_are_mixed(self, file_of, channels):
        samples = sound()[:, None] * np.array(channels)
        found = read_stretches(file_of("a.wav", written("WAV", samples, subtype="FLOAT")), WHOLE)
        assert found.remark is None
        np.testing.assert_allclose(found.mono[0], samples.mean(axis=1), atol=1e-6)

    def test_silence_stays_silence(self, file_of):
        with pytest.raises(UnusableSound, match=r"^silent$"):
            read_stretches(file_of("a.wav", written("WAV", np.zeros((RATE_HZ, 2)))), WHOLE)


def encoded(path: Path, codec: str, rate: int = RATE_HZ) -> Path:
    """Encodes the sound with FFmpeg."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono", bit_rate=96_000)
        frame = av.AudioFrame.from_ndarray(sound()[None], format="fltp", layout="mono")
        frame.rate = RATE_HZ
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


class TestFfmpeg:
    @pytest.fixture(params=["a.m4a", "a.aac", "a.mp4", "m4a by another name.mp3"])
    def path(self, request, tmp_path):
        pytest.importorskip("av", reason="pip install 'towers-rec[m4a]'")
        path = encoded(tmp_path / request.param.replace("mp3", "m4a"), "aac")
        return path.rename(tmp_path / request.param)

    def test_all_of_it_is_heard(self, path):
        found = read_stretches(path, WHOLE)
        assert len(found.mono[0]) / found.rate == pytest.approx(SECONDS, abs=0.15)
        assert found.rate == RATE_HZ
        assert found.remark is None

    def test_stretches_stand_where_they_should(self, path):
        assert frequencies_of(path, MIDDLE) == [pytest.approx(TONES_HZ[3], abs=10)]
        assert frequencies_of(path, CROPS)[1:] == [pytest.approx(hz, abs=10) for hz in TONES_HZ[1:]]
        whole, middle = read_stretches(path, WHOLE).mono[0], read_stretches(path, MIDDLE).mono[0]
        first = round((SECONDS - 1) / 2 * RATE_HZ)
        lags = [np.corrcoef(whole[first + lag :][: len(middle)], middle)[0, 1] for lag in range(-1_200, 1_200)]
        assert max(lags) > 0.999

    def test_cut_short(self, path):
        if path.suffix != ".aac":
            pytest.skip("what tells where its samples are stands at the end")
        path.write_bytes(half(path.read_bytes()))
        found = read_stretches(path, WHOLE)
        assert len(found.mono[0]) / found.rate == pytest.approx(SECONDS / 2, abs=1.0 + PART_S)

    def test_without_it_the_line_says_what_to_install(self, path, monkeypatch):
        monkeypatch.setattr(sound_file, "has_ffmpeg", lambda: False)
        with pytest.raises(UnusableSound, match=r"^does not decode: ") as raised:
            read_stretches(path, WHOLE)
        assert ("pip install 'towers-rec[m4a]'" in str(raised.value)) == (path.suffix != ".mp3")
