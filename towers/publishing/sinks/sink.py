"""Where an export goes besides its folder: an engine that searches vectors."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from towers.retrieval.export import Export

Progress = Callable[[str, int, int], None]
"""Told (stage, rows done, all rows)."""


@runtime_checkable  # for the tests, which check annotations at run time
class Sink(Protocol):
    """An engine that is filled from an export, whatever wrote it."""

    def check(self, dim: int) -> None:
        """Whether vectors of `dim` dimensions can be written; asked before they are made.

        Raises:
            UserError: it is to have more of them than there are.
        """
        ...

    def write(self, export: Export, on_progress: Progress) -> str:
        """Fills a table of this version's contents and one of its users, checks them, then lets serving see them.

        A version that the engine has in full is checked and served again, not written again. Whoever kills this
        leaves serving where it was, and the same command makes it good.

        Returns:
            What serving reads now, as a line for people; empty where there is nothing to say.

        Raises:
            UserError: no engine there, one that refuses, or one that does not hold what the export holds.
        """
        ...


class NoSink:
    """The folder is all there is."""

    def check(self, dim: int) -> None:
        """Nothing to do."""

    def write(self, export: Export, on_progress: Progress) -> str:
        """Nothing to do."""
        return ""
