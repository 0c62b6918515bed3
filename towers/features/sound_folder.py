"""Finds the audio files of contents within the data set's folder, and suggests a path if one is missing."""

import os
import re
import unicodedata
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from towers.features.sound import UnusableSound

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class SoundFolder:
    """Finds the files of the column `audio`: paths relative to a folder, or absolute paths inside it.

    Args:
        root: folder of the data set.
    """

    def __init__(self, root: Path):
        self._root = root
        self._base = root.resolve()
        self._names = lru_cache(maxsize=256)(_names_in)

    def find(self, audio: str) -> Path:
        """Returns the path of the regular file that `audio` names, below the folder as the caller wrote it.

        Raises:
            UnusableSound: `audio` is no path, leaves the folder (by `..`, an absolute path or a symbolic link), does
                not exist, is not a regular file or may not be read. The message suggests a similar path, if any.
        """
        if not audio.strip():
            raise UnusableSound("no such file: the path is empty; leave audio null where there is no sound")
        try:
            path = self._below(audio)
            is_there, is_file = path.exists(), path.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise UnusableSound(f"is no path ({type(error).__name__})") from error
        if not is_there:
            raise UnusableSound(f"no such file: {path.absolute()}{self._advice(audio)}")
        if not is_file:
            raise UnusableSound(
                f"is no file: {path.absolute()} is a {'folder' if path.is_dir() else 'device or a pipe'}"
            )
        if not os.access(path, os.R_OK):
            raise UnusableSound(
                f"may not be read: {path.absolute()}; give the user who runs prepare the right to read it"
            )
        return path

    def _below(self, audio: str) -> Path:
        """Joins `audio` to the folder, after resolving all links to check that it stays inside."""
        path = self._root / audio
        resolved = path.resolve()
        if not resolved.is_relative_to(self._base):
            raise UnusableSound(
                f"leaves the data set's folder: {path.absolute()} is not in {self._base}; audio paths are relative to "
                "it and stay inside"
            )
        return self._root / resolved.relative_to(self._base) if Path(audio).is_absolute() else path

    def _advice(self, audio: str) -> str:
        """Returns advice for a missing path, as the end of a sentence; empty if there is none."""
        if url := URL.match(audio):
            return f"; {url[0]} is a URL: copy the file into {self._base}, and write its path relative to that"
        if audio.startswith("~"):
            return f"; ~ is no home folder here: write the path relative to {self._base}"
        slashed = audio.replace("\\", "/")
        near = self._near(slashed)
        if near is None and slashed != audio:  # C:\Music\a.wav
            parts = slashed.split("/")
            near = next(filter(None, (self._near("/".join(parts[start:])) for start in range(1, len(parts)))), None)
        if near is not None:
            return f"; there is {near}" + (", with / for \\" if slashed != audio else "")
        return "; folders are separated by /" if slashed != audio else ""

    def _near(self, audio: str) -> str | None:
        """Returns a file whose path differs only in case, Unicode form or blanks, or in its extension; else null."""
        found = Path()
        *folders, name = Path(audio).parts
        for part in folders:
            same = self._names(self._base / found).get(_key(part), [])
            if not same:
                return None
            found /= part if part in same else same[0]
        names = self._names(self._base / found)
        same = names.get(_key(name)) or names.get(_key(Path(name).stem))
        return str(found / same[0]) if same and (self._base / found / same[0]).is_file() else None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _names_in(folder: Path) -> dict[str, list[str]]:
    """Returns the names in a folder by their normalized forms (`_key`), with and without the extension."""
    names: dict[str, list[str]] = defaultdict(list)
    if folder.is_dir():
        for name in sorted(path.name for path in folder.iterdir()):
            names[_key(name)].append(name)
        for name in [name for same in list(names.values()) for name in same]:
            names[_key(Path(name).stem)].append(name)
    return dict(names)
