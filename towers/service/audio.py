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
        root: null where no sound is served.
    """

    def __init__(self, root: Path | None):
        self._folder = None if root is None else SoundFolder(root)

    def path_of(self, audio: str | None) -> Path | None:
        """The file, links followed; null where there is none below the folder."""
        if self._folder is None or audio is None:
            return None
        try:
            return self._folder.find(audio).resolve()
        except UnusableSound:
            return None


@contextmanager
def as_heard(audio: bytes | Sequence[float] | None) -> Iterator[Audio]:
    """Sound of a question as the content tower's reader takes it, for a block.

    Args:
        audio: a whole file, which is written where temporary files lie until the block ends; or a vector.

    Raises:
        UserError: what the block raises, which names `audio` and not that file.
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
