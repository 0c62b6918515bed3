"""Sinks of an export besides its folder: engines that search vectors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from towers.errors import UserError
from towers.retrieval.export import Export

Progress = Callable[[str, int, int], None]
"""Function that is called with (stage, rows done, all rows)."""


class NotFilled(UserError):
    """An engine does not contain a version in full, so that serving cannot be switched to it before it is filled."""


@runtime_checkable  # for the tests, which check annotations at run time
class Sink(Protocol):
    """An engine that is filled from an export; the export may have been written by another tool."""

    def check(self, dim: int) -> None:
        """Checks, before vectors are made, that vectors of `dim` dimensions can be written.

        Raises:
            UserError: the engine is to have more dimensions than there are.
        """
        ...

    def write(self, export: Export, on_progress: Progress) -> str:
        """Does what `fill` does, and then what `serve` does.

        If it is killed, serving stays where it was, and the same command completes it.

        Returns:
            What serving reads now, as a line for people; empty where there is nothing to say.

        Raises:
            UserError: there is no engine, it refuses, or it does not contain what the export contains.
        """
        ...

    def fill(self, export: Export, on_progress: Progress) -> str:
        """Fills a table of this version's contents and one of its users, and checks them; serving stays where it is.

        A version that the engine has in full is checked, not written again. Versions that were filled after the one
        that serves, and were never served or rolled back, are removed.

        Returns:
            What the engine contains, as a line for people; empty where there is nothing to say.

        Raises:
            UserError: there is no engine, it refuses, or it does not contain what the export contains.
        """
        ...

    def serve(self, export: Export) -> str:
        """Makes serving read a version that the engine contains, after one more check, and removes old versions.

        The version that serves and the one that served before it are kept.

        Returns:
            What serving reads now, as a line for people; empty where there is nothing to say.

        Raises:
            NotFilled: the version is missing or incomplete.
            UserError: there is no engine, or it refuses.
        """
        ...

    def served(self) -> str | None:
        """Returns the version that serving reads; null where there is none, or no engine.

        Raises:
            UserError: the engine refuses.
        """
        ...

    def holding(self, ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Looks for rows, by their raw ids, in all tables that a sink made, of any version.

        Args:
            ids: raw ids of `contents` and `users`, by these names.

        Returns:
            Names of the tables that have any of the rows -> how many; 0 for a table that is not filled completely, in
            which nothing is looked up.

        Raises:
            UserError: the engine refuses.
        """
        ...

    def forget(self, ids: Mapping[str, Sequence[str]], export: Export | None, on_progress: Progress) -> None:
        """Removes some rows from the engine for good: fills it from an export without them, if serving reads a table
        that has any of them, and drops all tables that have any.

        Engines keep deleted rows, and even the ids by which they were deleted, in their files; a table that is dropped
        leaves nothing.

        Args:
            ids: as in `holding`.
            export: an export without these rows; null: there is none.
            on_progress: called while the engine is filled.

        Raises:
            UserError: the engine refuses, or serving reads such rows and there is no export without them.
        """
        ...

    def reach(self) -> None:
        """Checks, long before an engine is filled, that there is one; leaves nothing behind.

        Raises:
            UserError: there is none, or it refuses.
        """
        ...


class NoSink:
    """No engine: the export stays in its folder."""

    def check(self, dim: int) -> None:
        """Does nothing."""

    def write(self, export: Export, on_progress: Progress) -> str:
        """Does nothing."""
        return ""

    def fill(self, export: Export, on_progress: Progress) -> str:
        """Does nothing."""
        return ""

    def serve(self, export: Export) -> str:
        """Does nothing."""
        return ""

    def served(self) -> str | None:
        """Returns null: nothing is served."""
        return None

    def holding(self, ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Returns no tables."""
        return {}

    def forget(self, ids: Mapping[str, Sequence[str]], export: Export | None, on_progress: Progress) -> None:
        """Does nothing."""

    def reach(self) -> None:
        """Does nothing."""
