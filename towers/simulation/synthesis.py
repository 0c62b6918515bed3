"""Synthesis of a content's sound from its traits. Uses no artists, listeners or files.

The same seven traits drive music and speech, each in its own way, so that one space of tastes covers both:

trait       track                                  episode
pace        tempo, 60 to 160 beats a minute        2.5 to 6.5 syllables a second
mode        scale, phrygian (dark) to lydian       how far the pitch of the voice rises and falls
brightness  how slowly the harmonics fall off      the same, of the voice
density     steps with a note, notes in a chord    share of the time with speech rather than a pause
dynamics    depth of the swells, 0 to 24 dB        the same, from syllable to syllable
register    root, 65 to 330 Hz                     pitch of the voice, 80 to 260 Hz
grain       level of the drums and the hiss        share of breath in the voice
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64

TRAITS: Final[tuple[str, ...]] = ("pace", "mode", "brightness", "density", "dynamics", "register", "grain")

LANGUAGES: Final = ("en", "de", "pt", "ja")

# The modes of the major scale in semitones, from the darkest to the brightest.
_SCALES: Final = (
    (0, 1, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 5, 7, 9, 10),
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 4, 6, 7, 9, 11),
)

# The first three formants in Hz (after Peterson and Barney, 1952), a few vowels a language.
_VOWELS_HZ: Final = {
    "en": ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (640, 1190, 2390), (660, 1720, 2410)),
    "de": ((730, 1090, 2440), (390, 2300, 2900), (270, 2290, 3010), (270, 1700, 2200), (370, 1500, 2250)),
    "pt": ((730, 1090, 2440), (570, 840, 2410), (390, 2300, 2900), (300, 870, 2240), (600, 1200, 2700)),
    "ja": ((730, 1090, 2440), (270, 2290, 3010), (330, 1300, 2300), (450, 2000, 2600), (450, 800, 2830)),
}
_FORMANT_WIDTHS_HZ: Final = (90.0, 130.0, 200.0)
_FORMANT_GAINS: Final = (1.0, 0.6, 0.35)

_TABLE_SIZE: Final = 2048
_PEAK: Final = 0.8


def synthesise(
    traits: Float[np.ndarray, " traits"],
    *,
    rng: np.random.Generator,
    duration_s: float,
    sample_rate: int,
    language: str | None = None,
) -> Float32[np.ndarray, " samples"]:
    """Synthesises the sound of one content: speech-like if `language` is given, otherwise music.

    Two contents of equal traits share their character but not their notes, which come from `rng`.

    Args:
        traits: traits in the order of `TRAITS`; about standard normal, audible between -2 and 2 and clipped beyond.
        rng: generator of notes, drum hits, syllables and noise.
        duration_s: length in seconds, at least one beat.
        sample_rate: sample rate in Hz.
        language: one of `LANGUAGES`; determines the vowels.

    Returns:
        `round(duration_s * sample_rate)` samples, mono, with their peak at 0.8.
    """
    unit: dict[str, float] = dict(zip(TRAITS, np.clip((traits + 2.0) / 4.0, 0.0, 1.0).tolist(), strict=True))
    num_samples = round(duration_s * sample_rate)
    if language is None:
        sound = _music(unit, rng, num_samples, sample_rate)
    else:
        sound = _speech(unit, rng, num_samples, sample_rate, _VOWELS_HZ[language])
    return (sound * (_PEAK / np.abs(sound).max())).astype(np.float32)


def _music(
    unit: dict[str, float], rng: np.random.Generator, num_samples: int, sample_rate: int
) -> Float64[np.ndarray, " samples"]:
    step_s = 30.0 / (60.0 * 2.0 ** (1.4 * unit["pace"]))  # an eighth note
    num_steps = int(np.ceil(num_samples / sample_rate / step_s))
    sound = np.zeros(num_samples)
    scale = _SCALES[round(unit["mode"] * (len(_SCALES) - 1))]
    root = round(36 + 28 * unit["register"])  # MIDI note number
    envelope = _decay(1.5 * step_s, round(4.0 * step_s * sample_rate), sample_rate)
    swell_depth_db = 24.0 * unit["dynamics"]
    notes: dict[int, np.ndarray] = {}
    degree = 0
    for step in range(num_steps):
        start = round(step * step_s * sample_rate)
        # The first step always has a note: a content of low density could otherwise be silent.
        if step and rng.random() > 0.2 + 0.75 * unit["density"]:
            continue
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 13))
        level = 10.0 ** (-swell_depth_db * rng.random() * 0.3 / 20.0)
        for voice in range(1 + rng.binomial(2, 0.7 * unit["density"])):
            octave, place = divmod(degree + 2 * voice, len(scale))
            pitch = root + 12 * octave + scale[place]
            if pitch not in notes:
                frequency_hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
                tone = _tone(frequency_hz, 3.2 - 2.2 * unit["brightness"], len(envelope), sample_rate)
                notes[pitch] = tone * envelope
            _add(sound, start, level * notes[pitch])
    sound += _drums(unit["grain"], rng, num_samples, step_s, sample_rate)
    return sound * _swell(swell_depth_db, rng, num_samples, sample_rate)


def _tone(frequency_hz: float, falloff: float, num_samples: int, sample_rate: int) -> Float64[np.ndarray, " samples"]:
    """Returns a steady harmonic tone of unit power; harmonic `h` has amplitude `h ** -falloff`, none above Nyquist."""
    num_harmonics = int(np.clip(0.48 * sample_rate / frequency_hz, 1, 40))
    harmonics = np.zeros(_TABLE_SIZE // 2 + 1, dtype=np.complex128)
    harmonics[1 : num_harmonics + 1] = -1j * np.arange(1, num_harmonics + 1) ** -falloff
    table = np.fft.irfft(harmonics, norm="forward")
    phase = np.arange(num_samples) * (frequency_hz * _TABLE_SIZE / sample_rate)
    return table[phase.astype(np.int64) % _TABLE_SIZE] / np.sqrt(np.mean(table**2))


def _drums(
    grain: float, rng: np.random.Generator, num_samples: int, step_s: float, sample_rate: int
) -> Float64[np.ndarray, " samples"]:
    """Returns noise bursts on the beat with a hiss below, from hardly audible to louder than the notes."""
    noise = rng.standard_normal(num_samples)
    level = 0.02 * 100.0**grain
    seconds_since_beat = (np.arange(num_samples) / sample_rate) % (2.0 * step_s)
    return level * noise * (0.03 + np.exp(-seconds_since_beat / 0.05))


def _swell(
    depth_db: float, rng: np.random.Generator, num_samples: int, sample_rate: int
) -> Float64[np.ndarray, " samples"]:
    """Returns a slow rise and fall of the level between 0 and `-depth_db`, with a period of about three seconds."""
    phase = 2.0 * np.pi * (np.arange(num_samples) / sample_rate / 3.0 + rng.random())
    return 10.0 ** (-depth_db * (0.5 + 0.5 * np.sin(phase)) / 20.0)


def _speech(
    unit: dict[str, float],
    rng: np.random.Generator,
    num_samples: int,
    sample_rate: int,
    vowels_hz: tuple[tuple[int, int, int], ...],
) -> Float64[np.ndarray, " samples"]:
    seconds_a_syllable = 1.0 / (2.5 + 4.0 * unit["pace"])
    base_hz = 80.0 * 2.0 ** (1.7 * unit["register"])
    falloff = 1.8 - 1.4 * unit["brightness"]
    sound = np.zeros(num_samples)
    start = 0
    while start < num_samples:
        length = round(seconds_a_syllable * rng.uniform(0.8, 1.2) * sample_rate)
        octaves = (0.02 + 0.35 * unit["mode"]) * rng.standard_normal()
        voice = _tone(base_hz * 2.0**octaves, falloff, length, sample_rate)
        breath = rng.standard_normal(length)
        source = (1.0 - 0.9 * unit["grain"]) * voice + (0.02 + 0.6 * unit["grain"]) * breath
        spectrum = np.fft.rfft(source)
        vowel = vowels_hz[int(rng.integers(len(vowels_hz)))]
        syllable = np.fft.irfft(spectrum * _formants(vowel, length, sample_rate), n=length)
        level = 10.0 ** (-24.0 * unit["dynamics"] * rng.random() / 20.0)
        _add(sound, start, level * syllable * np.sin(np.pi * np.arange(length) / length))
        start += length
        if rng.random() > 0.5 + 0.48 * unit["density"]:
            start += round(2.0 * seconds_a_syllable * sample_rate)
    # Background noise, so that a pause has a spectrum too.
    return sound + 1e-3 * np.abs(sound).max() * rng.standard_normal(num_samples)


def _formants(vowel_hz: tuple[int, int, int], num_samples: int, sample_rate: int) -> Float64[np.ndarray, " bins"]:
    """Returns the gain of a vowel's three resonances at every bin of a real FFT."""
    bins_hz = np.fft.rfftfreq(num_samples, 1.0 / sample_rate)
    gain = np.full(len(bins_hz), 0.02)
    for centre_hz, width_hz, peak in zip(vowel_hz, _FORMANT_WIDTHS_HZ, _FORMANT_GAINS, strict=True):
        gain += peak / (1.0 + ((bins_hz - centre_hz) / width_hz) ** 2)
    return gain


def _decay(seconds: float, num_samples: int, sample_rate: int) -> Float64[np.ndarray, " samples"]:
    """Returns a plucked envelope: a rise within 5 ms, then exponential decay with the time constant `seconds`."""
    time_s = np.arange(num_samples) / sample_rate
    return np.minimum(time_s / 0.005, 1.0) * np.exp(-time_s / seconds)


def _add(sound: Float64[np.ndarray, " samples"], start: int, part: Float64[np.ndarray, " part"]) -> None:
    """Adds `part` to `sound` in place from `start` on, cut off at the end."""
    end = min(start + len(part), len(sound))
    sound[start:end] += part[: end - start]
