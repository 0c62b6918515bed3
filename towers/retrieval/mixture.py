"""The learnt mixture: how likely a listener is to choose a content that is new to them, by all that is known of both.

The chance of a listen (`listen_chance`) knows the listener's own history and the inner product. Of what is new to
somebody the history says little, and more can be asked: their several tastes, who else chooses what they choose, how
near a content is to what they chose, what they skip, how new a content is. A logistic regression weighs these. It is
fitted to the same window as the chance of a listen, so both are on one scale. What its features are made of is in
`policies/mixing`. Knows no torch.
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
"""What the model reads of a listener and a content; `policies/mixing` says how each is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The model.

    Args:
        odds: of a listen within the window of the export's chance of a listen.
        fitted: on what it was fitted, how well it ranks listeners that the fit has not seen, and `cold_share`, the
            share of first listens that were of contents which nobody had chosen before.
    """

    odds: LogOdds
    fitted: dict[str, Any]

    def write(self, path: Path, space_id: str) -> None:
        """Writes it as JSON, with the space whose inner products it reads."""
        write_json(path, {"space_id": space_id, "new": self.odds.to_dict(FEATURES), "fitted": self.fitted})

    @classmethod
    def read(cls, path: Path, space_id: str) -> "Mixture":
        """What `write` wrote; raises `UserError` where it is missing or damaged, or belongs to another space."""
        written = read_json(path)
        try:
            if written["space_id"] != space_id:
                found = written["space_id"]
                raise UserError(f"{path}: space_id {found} is not the export's {space_id}; copy the export again")
            return cls(odds=LogOdds.from_dict(written["new"], FEATURES), fitted=written["fitted"])
        except KeyError as error:
            raise UserError(f"{path}: {error} is missing; make or copy the export again") from error
