"""A filter that counts immediate repeats once."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.data.histories import PLACES, Histories


class CollapseRepeats:
    """Keeps the first of consecutive events of a listener that agree in content, action and whether they are positive.

    A like after a play stays, and so does a complete play after one that was broken off. The first event of a period
    always stays, so that no period decides what another holds. Searches are never repeats.
    """

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """See `Filter`."""
        columns = (histories.content_row, histories.action, histories.is_positive)
        kept = np.zeros(len(histories.content_row), bool)
        for column in map(np.asarray, columns):
            kept[1:] |= column[1:] != column[:-1]
        kept |= np.asarray(histories.content_row) < 0
        for name in PLACES:
            begins = np.asarray(getattr(histories, name))
            kept[begins[begins < len(kept)]] = True
        return kept

    def settings(self) -> dict[str, Any]:
        """There are no settings."""
        return {}
