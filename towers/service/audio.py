"""Where the sound of a content lies, and never a file outside of its folder."""

from pathlib import Path


class AudioFolder:
    """The data set's folder, which the contents' `audio` is relative to.

    Args:
        root: null where no sound is served.
    """

    def __init__(self, root: Path | None):
        self._root = None if root is None else root.resolve()

    def path_of(self, audio: str | None) -> Path | None:
        """The file, links followed; null where there is none below the folder."""
        if self._root is None or audio is None or "\0" in audio:
            return None
        path = (self._root / audio).resolve()
        return path if path.is_relative_to(self._root) and path.is_file() else None
