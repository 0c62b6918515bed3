"""What is repeated at once."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.data.histories import PLACES, Histories


class CollapseRepeats:
    """Of events in a row that say the same, the first stays: the same listener, content and action, positive or not.

    A like after a play stays, and so does a whole play after one that was broken off. The first event of a period stays
    whatever came before it, so that no period decides what another holds. Searches are no repeats.
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
        """None."""
        return {}
