"""Exit codes of the commands, and the exceptions of ends that are neither success nor a bug."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `towers`. Schedulers retry after 1 and after a signal, and leave 2 and 3 to people."""

    OK = 0
    FAILED = 1
    """A bug, or something outside that does not answer at the moment (`Unreachable`)."""
    CALLER = 2
    """The caller's mistake, or a fault in the data."""
    REFUSED = 3
    """The quality gate refused."""
    INTERRUPTED = 130
    """Stopped by SIGINT, such as Ctrl-C. This and the next two are the shell's codes: 128 plus the signal's number."""
    USER_SIGNAL = 138
    """Stopped by SIGUSR1, after saving."""
    TERMINATED = 143
    """Stopped by SIGTERM, after saving."""


class UserError(Exception):
    """The caller's mistake: bad configuration or bad data. Shown as one line; exit code 2.

    The message names the key, the file, the row and the column where they apply, and says what to do.
    """

    exit_code = ExitCode.CALLER


class Unreachable(UserError):
    """Something outside does not answer, or is busy; the same command may succeed later. Shown as one line; exit code
    1, after which schedulers retry."""

    exit_code = ExitCode.FAILED


class DataLacks(UserError):
    """Something that this data does not allow; a caller that can do without it goes on."""


def require_counts(**numbers: int) -> None:
    """Checks that numbers that count something, such as dimensions, layers or steps, are 1 or more.

    Raises:
        ValueError: a number is below 1; the message names it. Code that builds from a configuration adds the key.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


class GateRefused(Exception):
    """The quality gate refused to publish. Exit code 3."""

    exit_code = ExitCode.REFUSED
