"""Selection of the listeners that a fit leaves out, so that a check has some unseen by simulator and export."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool


def is_held_out(user_ids: Iterable[str], share: float, seed: int) -> Bool[np.ndarray, " listeners"]:
    """Returns whether the fit leaves each listener out: by a hash of the id, so it is the same for every log.

    Args:
        user_ids: ids in any order.
        share: share of listeners to leave out, between 0 and 1.
        seed: seed; another one leaves out other listeners.
    """
    key = str(seed).encode()
    drawn = [
        int.from_bytes(hashlib.blake2b(user_id.encode(), key=key, digest_size=8).digest(), "big")
        for user_id in user_ids
    ]
    return np.array(drawn, np.uint64) / 2.0**64 < share
