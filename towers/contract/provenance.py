"""Provenance of vectors: what they were trained on. Runs and exports both tell it, before they are measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Provenance of vectors; without arguments, nothing is known.

    Args:
        trained_on: fingerprint of the prepared store; null where it is not known.
        trained_until_us: end of the training period, in microseconds since 1970; null without a clock, and where it is
            not known.
        has_seen_validation: whether everything before the test was fitted on, validation included, with settings that
            were chosen before.
        has_seen_test: whether the test was, too, so that nothing of this store is left to judge by.
    """

    trained_on: str | None = None
    trained_until_us: int | None = None
    has_seen_validation: bool = False
    has_seen_test: bool = False
