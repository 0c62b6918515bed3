"""The learnt mixture: a model of how likely a listener is to choose a content that is new to them.

The chance of a listen (`listen_chance`) reads the listener's own history and the inner product. For a new content the
history says little, so this model adds further signals: the listener's separate tastes, co-listening, the distance to
what they chose, what they skip, and the content's age. It is a logistic regression, fitted to the same window as the
chance of a listen, so that both are on one scale. `policies/mixing` computes its features. Imports no torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towers.errors import UserError
from towers.manifest import read_json, write_json
from towers.retrieval.listen_chance import LogOdds

FEATURES = (
    "affinity", "taste", "chance", "listened_with", "log_listened_with", "nearest", "artist_skips", "popularity",
    "age", "is_fresh",
)  # fmt: skip
"""Features of a listener and a content, which `policies/mixing` computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Model of the chance that a listener listens to a content that is new to them.

    Args:
        odds: log-odds of a listen within the window of the export's chance of a listen.
        fitted: facts about the data of the fit, its ranking metrics on held-out listeners, and `cold_share`, the share
            of first listens whose content no listener had chosen before.
    """

    odds: LogOdds
    fitted: dict[str, Any]

    def write(self, path: Path, space_id: str) -> None:
        """Writes the model as JSON, with the id of the space whose inner products it reads."""
        write_json(path, {"space_id": space_id, "new": self.odds.to_dict(FEATURES), "fitted": self.fitted})

    @classmethod
    def read(cls, path: Path, space_id: str) -> "Mixture":
        """Reads a file of `write`; raises `UserError` if it is missing, damaged or belongs to another space."""
        written = read_json(path)
        try:
            if written["space_id"] != space_id:
                found = written["space_id"]
                raise UserError(f"{path}: space_id {found} is not the export's {space_id}; copy the export again")
            return cls(odds=LogOdds.from_dict(written["new"], FEATURES), fitted=written["fitted"])
        except KeyError as error:
            raise UserError(f"{path}: {error} is missing; make or copy the export again") from error
