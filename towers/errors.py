"""The ways a command ends that are neither success nor a bug."""


class UserError(Exception):
    """The caller's mistake: bad configuration or bad data. Shown as one line; exit code 2.

    The message names the key, the file, the row and the column where they apply, and says what to do.
    """


class DataLacks(UserError):
    """A part that this data does not allow; whoever can do without it goes on."""


class GateRefused(Exception):
    """The quality gate refused to publish. Exit code 3."""
