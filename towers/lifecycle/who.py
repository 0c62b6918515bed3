"""Who does something: a user and a machine."""

import getpass
import os
import socket


def user() -> str:
    """Gives the user's name; in a container whose user has none, their number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def who() -> str:
    """Gives `user@host`, as ledgers and locks name whoever does something."""
    return f"{user()}@{socket.gethostname()}"
