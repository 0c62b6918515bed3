"""The user and machine that run this process."""

import getpass
import os
import socket


def user() -> str:
    """Returns the user's name; in a container whose user has none, the user's number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def who() -> str:
    """Returns `user@host`, by which ledgers and locks name the user."""
    return f"{user()}@{socket.gethostname()}"
