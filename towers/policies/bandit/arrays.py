"""Arrays of a policy's state, checked as they are taken."""

from collections.abc import Mapping

import numpy as np


def taken(state: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of a state.

    Args:
        state: that it stands in.
        name: of the array.
        shape: that it has to have; null: any length.

    Raises:
        ValueError: it is missing, or has another shape.
    """
    if name not in state:
        raise ValueError(f"the policy's state has no {name!r}")
    array = np.asarray(state[name])
    fits = array.ndim == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ["any" if length is None else length for length in shape]
        raise ValueError(f"{name!r} of the policy's state is {list(array.shape)}, and must be {wanted}")
    return array
