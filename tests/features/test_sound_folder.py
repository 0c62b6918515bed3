"""Paths of sounds: inside the data set's folder in any notation, and the errors for others."""

import os
import re

import pytest

from towers.features.sound import UnusableSound
from towers.features.sound_folder import SoundFolder


@pytest.fixture
def root(tmp_path):
    """A folder with sounds, reached by a link as well, and a sound beside it."""
    root = tmp_path / "data"
    (root / "audio").mkdir(parents=True)
    for name in ("one.wav", "two.FLAC", "Ünï.ogg", "sp ace.wav"):
        (root / "audio" / name).write_bytes(b"sound")
    (root / "audio/link.wav").symlink_to(root / "audio/one.wav")
    (root / "outward.wav").symlink_to(tmp_path / "secret.wav")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "linked").symlink_to(root, target_is_directory=True)
    return root


@pytest.fixture
def reason_of(root):
    def judge(audio: str) -> str:
        with pytest.raises(UnusableSound) as raised:
            SoundFolder(root).find(audio)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return judge


@pytest.mark.parametrize("base", ["data", "linked"])
@pytest.mark.parametrize("written", ["audio/one.wav", "{}/data/audio/one.wav", "{}/linked/audio/one.wav"])
def test_absolute_paths_and_links_to_the_folder(root, tmp_path, base, written):
    found = SoundFolder(tmp_path / base).find(written.format(tmp_path))
    assert found == tmp_path / base / "audio/one.wav"


def test_a_folder_that_is_relative(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    assert SoundFolder(Path("data")).find(f"{root}/audio/one.wav") == Path("data/audio/one.wav")


def test_links_and_dots_that_stay_inside(root):
    assert SoundFolder(root).find("audio/link.wav") == root / "audio/link.wav"
    assert SoundFolder(root).find("audio/../audio/one.wav").samefile(root / "audio/one.wav")


@pytest.mark.parametrize("audio", ["../secret.wav", "outward.wav", "{}/secret.wav", "/etc/hostname", "/", ".."])
def test_outside(reason_of, tmp_path, audio):
    assert reason_of(audio.format(tmp_path)).startswith("leaves the data set's folder: ")


@pytest.mark.parametrize(
    ("audio", "near"),
    [
        ("Audio/ONE.WAV", "audio/one.wav"),
        ("audio/one.mp3", "audio/one.wav"),
        ("audio/two.flac", "audio/two.FLAC"),
        ("audio/one", "audio/one.wav"),
        ("audio/U\u0308ni\u0308.ogg", "audio/Ünï.ogg"),
        ("audio/one.wav ", "audio/one.wav"),
        ("audio\\one.wav", "audio/one.wav, with / for \\"),
        ("C:\\Music\\audio\\one.wav", "audio/one.wav, with / for \\"),
        ("file://audio/one.wav", None),
    ],
)
def test_what_is_near_a_file_that_is_not_there(reason_of, root, audio, near):
    reason = reason_of(audio)
    assert reason.startswith(f"no such file: {root}/")
    assert near is None or reason.endswith(f"; there is {near}")


@pytest.mark.parametrize(
    ("audio", "advice"),
    [
        ("s3://bucket/one.wav", "s3:// is a URL: copy the file into"),
        ("https://example.org/one.wav", "https:// is a URL"),
        ("file:///audio/one.wav", "file:// is a URL"),
        ("~/audio/one.wav", "~ is no home folder here"),
        ("music\\one.wav", "folders are separated by /"),
        ("", "the path is empty"),
        (" ", "the path is empty"),
    ],
)
def test_advice(reason_of, audio, advice):
    assert re.match(r"no such file: .*", reason_of(audio))
    assert advice in reason_of(audio)


def test_nothing_near_is_no_advice(reason_of, root):
    assert reason_of("audio/three.wav") == f"no such file: {root}/audio/three.wav"


def test_no_file(reason_of, root):
    os.mkfifo(root / "pipe.wav")
    assert reason_of("audio") == f"is no file: {root}/audio is a folder"
    assert reason_of("pipe.wav") == f"is no file: {root}/pipe.wav is a device or a pipe"
    assert reason_of("x" * 300).startswith("is no path")
    assert reason_of("a\0b").startswith("is no path")


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may read everything")
def test_a_file_that_may_not_be_read(reason_of, root):
    (root / "audio/one.wav").chmod(0)
    assert reason_of("audio/one.wav").startswith("may not be read: ")
