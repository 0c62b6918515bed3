"""The prepared store that a command works on, compared with what the caller says of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf

from towers.config.composing import SAID, flat, resolved
from towers.config.instantiate import value
from towers.data.histories import Until
from towers.data.store import Store
from towers.errors import UserError

FILTERS = "data.filters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller says of how a store was prepared; everything else is taken from the store.

    Args:
        values: values that the store must have, by dotted key.
        said: values that files give, by dotted key; where the store has another value, that is used and a line printed.
        root: folder of the raw data, which must be the store's; null: any.
    """

    values: Mapping[str, Any]
    said: Mapping[str, Any]
    root: str | None

    def check(self, store: Store) -> None:
        """Raises `UserError` where the store was prepared from other data, features or cuts."""
        filters = store.manifest.get("filters", {})  # older stores do not have it
        prepared = {"features": asdict(store.features), "data.split": store.manifest["split"], FILTERS: filters}
        found = {FILTERS: list(filters)} | dict(_compared(prepared))
        for key, asked in self.values.items():
            if key not in found:
                raise UserError(f"{key}={_typed(asked)}: {store.folder} was prepared with no such key")
            if str(found[key]) != str(asked):
                raise UserError(
                    f"{key}={_typed(asked)}: {store.folder} was prepared with {_typed(found[key])}; leave it out to "
                    "take what is there, or run `towers prepare` with it"
                )
        for key, wanted in self.said.items():
            if key in found and str(found[key]) != str(wanted):
                print(f"{key}={_typed(found[key])}, as {store.folder} was prepared; a file says {_typed(wanted)}")
        prepared_from = store.manifest.get("root")
        if self.root is None or prepared_from is None or Path(self.root).resolve() == Path(prepared_from).resolve():
            return
        raise UserError(
            f"{store.folder}: was prepared from {prepared_from}, not data.root={self.root}; run `towers prepare` with "
            "the same data.root, and give another data.name to keep both"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStore:
    """The place of a store, and what the caller says of it.

    Args:
        folder: folder of all stores of the data set.
        given: what the store must agree with.
    """

    folder: Path
    given: Given

    def open(self) -> Store:
        """Opens the store.

        Raises:
            UserError: none was prepared, or it differs from what the caller says.
        """
        store = Store.open(self.folder)
        self.given.check(store)
        return store


def given_of(config: DictConfig) -> Given:
    """Reads what a narrowed configuration still has of `features`, `data.split`, `data.filters` and `data.root`."""
    nodes = {name: OmegaConf.select(config, name) for name in ("features", "data.split", FILTERS)}
    typed = {name: resolved(node) for name, node in nodes.items() if node is not None}
    root = OmegaConf.select(config, "data.root")
    return Given(
        values=({FILTERS: []} if typed.get(FILTERS) == {} else {}) | dict(_compared(typed)),
        said=dict(_compared(resolved(config[SAID]))) if SAID in config else {},
        root=None if root is None else str(root),
    )


def prepared_store(config: DictConfig) -> PreparedStore:
    """Returns the place of the store that `paths.stores` and `data.name` name; it is opened later."""
    folder = Path(value(config, "paths.stores", str)) / value(config, "data.name", str)
    return PreparedStore(folder=folder, given=given_of(config))


def until_of(config: DictConfig) -> Until:
    """Reads where a training ends; at validation, where an older run's configuration does not say.

    Raises:
        UserError: the value is none of validation, test and end.
    """
    found = value(config, "train_until", str) if "train_until" in config else "validation"
    if found not in get_args(Until):
        raise UserError(f"train_until={found}: must be one of {', '.join(get_args(Until))}")
    return found


def _compared(nodes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) by which two preparations are compared, from nodes by dotted key; the class of a split
    or a filter has the node's own key.

    A tuple becomes a list and an integer a float, as a configuration and a manifest differ in these.
    """
    for key, found in (leaf for name, node in nodes.items() for leaf in flat(node, name)):
        parent, _, name = key.rpartition(".")
        if name not in ("_target_", "class"):
            yield key, _comparable(found)
        elif parent.startswith(("data.split", FILTERS)):
            yield parent, str(found).rpartition(".")[2]


def _comparable(found: Any) -> Any:
    if isinstance(found, (list, tuple)):
        return [_comparable(item) for item in found]
    return float(found) if isinstance(found, int) and not isinstance(found, bool) else found


def _typed(found: Any) -> str:
    """Formats a compared value as it is typed in a command."""
    if isinstance(found, list):
        return f"[{','.join(map(_typed, found))}]"
    if found is None:
        return "null"
    return f"{found:.15g}" if isinstance(found, float) else str(found)
