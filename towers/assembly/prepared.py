"""The prepared store that a command works on, held against what the caller says of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.config.composing import SAID
from towers.config.instantiate import value
from towers.data.store import Store
from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller says of how a store was prepared; the rest is taken from it.

    Args:
        values: by dotted key, those that must be the store's.
        said: by dotted key, what files say; where the store has another, that is taken, and told.
        root: of the raw data, that must be the store's; null: as it is.
    """

    values: Mapping[str, Any]
    said: Mapping[str, Any]
    root: str | None

    def check(self, store: Store) -> None:
        """Raises `UserError` where the store was prepared from other data, features or cuts."""
        prepared = {"features": asdict(store.features), "data.split": store.manifest["split"]}
        found = {key: leaf for name, node in prepared.items() for key, leaf in _leaves(node, name)}
        for key, wanted in self.values.items():
            if key not in found:
                raise UserError(f"{key}={wanted}: {store.folder} was prepared with no such key")
            there, asked = _plain(found[key]), _plain(wanted)
            if str(there) != str(asked):
                raise UserError(
                    f"{key}={asked}: {store.folder} was prepared with {there}; leave it out to take what is there, or "
                    "run `towers prepare` with it"
                )
        for key, wanted in self.said.items():
            if key in found and str(_plain(found[key])) != str(_plain(wanted)):
                print(f"{key}={_plain(found[key])}, as {store.folder} was prepared; a file says {_plain(wanted)}")
        prepared_from = store.manifest.get("root")
        if self.root is None or prepared_from is None or Path(self.root).resolve() == Path(prepared_from).resolve():
            return
        raise UserError(
            f"{store.folder}: was prepared from {prepared_from}, not data.root={self.root}; run `towers prepare` with "
            "the same data.root, and give another data.name to keep both"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStore:
    """Where a store stands, and what the caller says of it.

    Args:
        folder: of all stores of the data set.
        given: that must be so.
    """

    folder: Path
    given: Given

    def open(self) -> Store:
        """The store.

        Raises:
            UserError: none was prepared, or otherwise than the caller says.
        """
        store = Store.open(self.folder)
        self.given.check(store)
        return store


def given_of(config: DictConfig) -> Given:
    """What is there of `features`, `data.split` and `data.root`."""
    values = {}
    for name in ("features", "data.split"):
        node = OmegaConf.select(config, name)
        if node is not None:
            values.update(_leaves(OmegaConf.to_container(node, resolve=True), name))
    root = OmegaConf.select(config, "data.root")
    said = {}
    for key, wanted in (config.get(SAID) or {}).items():
        said.update(_leaves({key.rpartition(".")[2]: wanted}, key.rpartition(".")[0]))
    return Given(values=values, said=said, root=None if root is None else str(root))


def prepared_store(config: DictConfig) -> PreparedStore:
    """As `paths.stores` and `data.name` say."""
    folder = Path(value(config, "paths.stores", str)) / value(config, "data.name", str)
    return PreparedStore(folder=folder, given=given_of(config))


def training_store(store: Store, until: str) -> Store:
    """The store as training sees it, up to the validation or the test.

    Raises:
        UserError: neither of them.
    """
    if until not in ("validation", "test"):
        raise UserError(f"train_until={until}: must be validation or test")
    return store.trained_until_test() if until == "test" else store


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested values; a split's class stands under its own key, others have but one."""
    for name, inner in node.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{key}.{name}")
        elif name not in ("_target_", "class"):
            yield f"{key}.{name}", inner
        elif key == "data.split":
            yield key, str(inner).rpartition(".")[2]


def _plain(value: Any) -> Any:
    """A tuple as a list and an integer as a float, as a configuration and a manifest differ in these."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
