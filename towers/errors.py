"""The ways a command ends that are neither success nor a bug."""


class UserError(Exception):
    """The caller's mistake: bad configuration or bad data. Shown as one line; exit code 2.

    The message names the key, the file, the row and the column where they apply, and says what to do.
    """


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
