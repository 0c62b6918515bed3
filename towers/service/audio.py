"""Finds the sound file of a content, never outside of its folder, and decodes the sound in a request."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from towers.errors import UserError
from towers.features.sound import UnusableSound
from towers.features.sound_folder import SoundFolder
from towers.retrieval.raw_contents import Audio


class AudioFolder:
    """The data set's folder, which the contents' `audio` is relative to.

    Args:
        root: the folder; null where no sound is served.
    """

    def __init__(self, root: Path | None):
        self._folder = None if root is None else SoundFolder(root)

    def path_of(self, audio: str | None) -> Path | None:
        """Returns the file, with links resolved; null where there is none below the folder."""
        if self._folder is None or audio is None:
            return None
        try:
            return self._folder.find(audio).resolve()
        except UnusableSound:
            return None


@contextmanager
def as_heard(audio: bytes | Sequence[float] | None) -> Iterator[Audio]:
    """Yields the sound of a question in the form that the content tower reads: the path of a file, or a vector.

    Args:
        audio: bytes of a sound file, which become a temporary file until the block ends; or a vector.

    Raises:
        UserError: an error of the block, with `audio` in place of the temporary file's name.
    """
    if not isinstance(audio, bytes):
        yield None if audio is None else np.array(audio, np.float32)
        return
    with tempfile.NamedTemporaryFile(prefix="towers-") as file:
        file.write(audio)
        file.flush()
        try:
            yield Path(file.name)
        except UserError as error:
            raise UserError(str(error).replace(file.name, "audio")) from error
