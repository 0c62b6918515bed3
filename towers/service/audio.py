"""Where the sound of a content lies, and never a file outside of its folder."""

from pathlib import Path

from towers.features.sound import UnusableSound
from towers.features.sound_folder import SoundFolder


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
