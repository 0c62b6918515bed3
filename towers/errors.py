"""The ways a command ends, and the errors by which it ends that are neither success nor a bug."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What `towers` tells whoever has started it. Schedulers start the same command again after 1 and after a signal,
    and leave 2 and 3 to people."""

    OK = 0
    FAILED = 1
    """A bug, or something outside that does not answer just now (`Unreachable`)."""
    CALLER = 2
    """The caller's mistake, or the data's."""
    REFUSED = 3
    """The quality gate refused."""
    INTERRUPTED = 130
    """Stopped by SIGINT, as by Ctrl-C; this and the next two are the shell's codes, 128 and the signal's number."""
    USER_SIGNAL = 138
    """Stopped by SIGUSR1, saved."""
    TERMINATED = 143
    """Stopped by SIGTERM, saved."""


class UserError(Exception):
    """The caller's mistake: bad configuration or bad data. Shown as one line; exit code 2.

    The message names the key, the file, the row and the column where they apply, and says what to do.
    """

    exit_code = ExitCode.CALLER


class Unreachable(UserError):
    """Something outside does not answer, or is busy; the same command may succeed later. One line; exit code 1, after
    which schedulers start the command again."""

    exit_code = ExitCode.FAILED


class DataLacks(UserError):
    """A part that this data does not allow; whoever can do without it goes on."""


def require_counts(**numbers: int) -> None:
    """Holds numbers that count something, such as dimensions, layers or steps, to 1 or more.

    Raises:
        ValueError: one is below; names it. Whoever builds from a configuration adds the key.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


class GateRefused(Exception):
    """The quality gate refused to publish. Exit code 3."""

    exit_code = ExitCode.REFUSED
