"""Which listeners a fit leaves out, so that a check has some whom neither simulator nor export has seen."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool


def is_held_out(user_ids: Iterable[str], share: float, seed: int) -> Bool[np.ndarray, " listeners"]:
    """Says of each listener whether the fit leaves them out: by a hash of the id, so it is the same for every log.

    Args:
        user_ids: in any order.
        share: of all listeners, between 0 and 1.
        seed: another one leaves out others.
    """
    key = str(seed).encode()
    drawn = [
        int.from_bytes(hashlib.blake2b(user_id.encode(), key=key, digest_size=8).digest(), "big")
        for user_id in user_ids
    ]
    return np.array(drawn, np.uint64) / 2.0**64 < share
