"""Arrays of a policy's state, checked when they are restored."""

from collections.abc import Mapping

import numpy as np


def taken(state: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns an array of a state, checked.

    Args:
        state: arrays by name.
        name: name of the array.
        shape: shape that it must have; null: any length.

    Raises:
        ValueError: the array is missing, or has another shape.
    """
    if name not in state:
        raise ValueError(f"the policy's state has no {name!r}")
    array = np.asarray(state[name])
    fits = array.ndim == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ["any" if length is None else length for length in shape]
        raise ValueError(f"{name!r} of the policy's state has shape {list(array.shape)}, but must have {wanted}")
    return array
