"""The settings of the parts that decide a store, for its fingerprint and manifest; private attributes do not count."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable  # for the tests, which check annotations at run time
class Part(Protocol):
    """A source, a split or a filter."""

    def settings(self) -> dict[str, Any]:
        """Returns all settings that decide a result, by the names of the constructor's keywords, as JSON values.

        Paths are left out: the same data may lie elsewhere next time, and its files have digests of their own.
        """
        ...


def settings_of(part: Part) -> dict[str, Any]:
    """Returns the class of a part and its settings as JSON values."""
    return {"class": type(part).__name__, **part.settings()}
