"""Which of several processes this one is, as far as the environment says; imports no torch."""

import os


def is_first_process() -> bool:
    """Whether this is the one of several processes that goes on after a training."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
