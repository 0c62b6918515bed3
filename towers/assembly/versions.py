"""The versions of a data set and who reads them: what a roll back and the history need, without torch."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from towers.config.instantiate import instantiate, value
from towers.lifecycle.ledger import Ledger
from towers.publishing.sinks.sink import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What is published of a data set.

    Args:
        ledger: of its nights.
        sink: engine that readers ask.
        main_metric: that decides.
    """

    ledger: Ledger
    sink: Sink
    main_metric: str


def versions_of(config: DictConfig) -> Versions:
    """Reads from the configuration of `towers retrain` where versions stand.

    Raises:
        UserError: a key that does not fit.
    """
    nights, exports, runs = (Path(value(config, f"paths.{name}", str)) for name in ("nights", "exports", "runs"))
    return Versions(
        ledger=Ledger(folder=nights / value(config, "data.name", str), exports=exports, runs=runs),
        sink=instantiate(config.sink, "sink"),
        main_metric=value(config, "evaluation.main_metric", str),
    )
