"""Where an export goes besides its folder: an engine that searches vectors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from towers.errors import UserError
from towers.retrieval.export import Export

Progress = Callable[[str, int, int], None]
"""Told (stage, rows done, all rows)."""


class NotFilled(UserError):
    """A version that an engine does not have in full, so that serving cannot be led to it before it is filled."""


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
        """Does what `fill` does, and then what `serve` does.

        Whoever kills this leaves serving where it was, and the same command makes it good.

        Returns:
            What serving reads now, as a line for people; empty where there is nothing to say.

        Raises:
            UserError: no engine there, one that refuses, or one that does not hold what the export holds.
        """
        ...

    def fill(self, export: Export, on_progress: Progress) -> str:
        """Fills a table of this version's contents and one of its users, and checks them; serving stays where it is.

        A version that the engine has in full is checked, not written again. What was filled since the version that
        serves, and never served or was led away from, goes.

        Returns:
            What the engine holds, as a line for people; empty where there is nothing to say.

        Raises:
            UserError: no engine there, one that refuses, or one that does not hold what the export holds.
        """
        ...

    def serve(self, export: Export) -> str:
        """Leads serving to a version that is there, checked once more, and removes old ones.

        The version that serves and the one that served before it stay.

        Returns:
            What serving reads now, as a line for people; empty where there is nothing to say.

        Raises:
            NotFilled: the version is not there, or not all of it.
            UserError: no engine there, or one that refuses.
        """
        ...

    def served(self) -> str | None:
        """The version that serving is led to; null where it is led nowhere, or there is no engine to ask.

        Raises:
            UserError: an engine that refuses.
        """
        ...

    def holding(self, ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Looks for some rows, by their raw ids, in all tables that a sink made, of whichever version.

        Args:
            ids: of `contents` and `users`, by these names.

        Returns:
            Names of the tables that have any of the rows -> how many; 0 for a table that is not filled completely, in
            which nothing is looked up.

        Raises:
            UserError: an engine that refuses.
        """
        ...

    def forget(self, ids: Mapping[str, Sequence[str]], export: Export | None, on_progress: Progress) -> None:
        """Removes some rows from the engine for good: fills it from an export without them, if serving reads a table
        that has any of them, and drops all tables that have any.

        Engines keep deleted rows, and even the ids by which they were deleted, in their files; a table that is dropped
        leaves nothing.

        Args:
            ids: as for `holding`.
            export: an export without these rows; null: there is none.
            on_progress: called while the engine is filled.

        Raises:
            UserError: the engine refuses, or serving reads such rows and there is no export without them.
        """
        ...

    def reach(self) -> None:
        """Whether an engine is there that could be filled; asked long before it is. Writes nothing that stays.

        Raises:
            UserError: none is, or it refuses.
        """
        ...


class NoSink:
    """The folder is all there is."""

    def check(self, dim: int) -> None:
        """Nothing to do."""

    def write(self, export: Export, on_progress: Progress) -> str:
        """Nothing to do."""
        return ""

    def fill(self, export: Export, on_progress: Progress) -> str:
        """Nothing to do."""
        return ""

    def serve(self, export: Export) -> str:
        """Nothing to do."""
        return ""

    def served(self) -> str | None:
        """Nothing is there."""
        return None

    def holding(self, ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Nothing is there."""
        return {}

    def forget(self, ids: Mapping[str, Sequence[str]], export: Export | None, on_progress: Progress) -> None:
        """Nothing to do."""

    def reach(self) -> None:
        """Nothing to do."""
