"""The weights that a training starts from: random ones, or those of an earlier run, carried to the present store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Int
from omegaconf import DictConfig

from towers.config.composing import config_of_run
from towers.config.instantiate import value
from towers.config.signature import WHOLE_ROWS
from towers.contract import schema
from towers.data.refreshed import rows_before
from towers.data.store import Store
from towers.errors import UserError
from towers.features.vocabulary import Vocabulary
from towers.manifest import read_json
from towers.training.checkpoints import digest_of_weights, load_optimizer, load_weights, trained_checkpoint
from towers.training.run_folder import ENVIRONMENT_FILE, FINISHED, LAST
from towers.training.step import Learner
from towers.training.warm_start import CONTENTS, Rows, carried, carried_optimizer, tables_of

OptimizerState = Literal["reset", "carry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """An earlier run whose weights a training starts from.

    Args:
        folder: folder of the run.
        trained_on: store that it was trained on.
        optimizer: whether its optimiser's moments are carried, too.
    """

    folder: Path
    trained_on: Store
    optimizer: OptimizerState

    @property
    def facts(self) -> tuple[str, str]:
        """Facts that decide the result: the digest of the weights, and the handling of the optimiser's state."""
        return digest_of_weights(trained_checkpoint(self.folder)), self.optimizer

    def begin(self, learner: Learner, store: Store) -> None:
        """Loads the run's weights into the learner.

        Args:
            learner: learner made for the store.
            store: store of this training.

        Raises:
            UserError: the run has another network, or reads other features.
        """
        weights = load_weights(trained_checkpoint(self.folder))
        ids, tables, rows = learner.divided_ids(), self._tables(learner, store), self._rows(store)
        division = None if ids is None else ids.division
        learner.load_state_dict(carried(weights, learner.state_dict(), tables, rows, division))

    def go_on(self, optimizer: torch.optim.Optimizer, learner: Learner, store: Store) -> torch.optim.Optimizer:
        """Loads the run's moments into a new optimiser, if they are to be carried; returns the optimiser."""
        if self.optimizer == "carry":
            state = load_optimizer(self.folder / LAST)  # the best checkpoint has weights only
            tables = self._tables(learner, store)
            optimizer.load_state_dict(carried_optimizer(state, optimizer, learner, tables, self._rows(store)))
        return optimizer

    def _tables(self, learner: Learner, store: Store) -> dict[str, str]:
        return tables_of(learner, store.features.user_columns)

    def _rows(self, store: Store) -> Rows:
        before = self.trained_on
        columns = (*before.features.content_parts, *before.features.user_columns, *schema.EVENT_VOCABULARIES)
        found = {name: _codes_before(before.vocabulary(name), store.vocabulary(name)) for name in columns}
        return found | {CONTENTS: rows_before(before, store)}


def warm_start_of(config: DictConfig, store: Store) -> WarmStart | None:
    """Reads the run that a training starts from; null: random weights.

    Args:
        config: configuration of `towers train`.
        store: store of this training.

    Raises:
        UserError: there is no finished run, its store is gone, the two stores have different features, or moments are
            to be carried from or to divided tables.
    """
    given = value(config, "warm_start.checkpoint", str | None)
    optimizer = value(config, "warm_start.optimizer", str)
    if optimizer != "reset" and optimizer != "carry":  # not `in`, which does not narrow the type
        raise UserError(f"warm_start.optimizer={optimizer}: must be one of {', '.join(get_args(OptimizerState))}")
    if given is None:
        return None
    folder = Path(given)
    if not (folder / FINISHED).exists():
        raise UserError(
            f"warm_start.checkpoint={folder}: no finished run here; give the folder that `towers train` named"
        )
    if optimizer == "carry":
        check_carried("warm_start.optimizer", config, folder)
    trained_on = store_of_run(folder, Path(config.paths.stores))
    before, now = trained_on.features.to_dict(), store.features.to_dict()
    for key in ("content_parts", "user_columns", "spectrogram"):
        if before.get(key) != now.get(key):
            raise UserError(
                f"warm_start.checkpoint={folder}: it was trained with features.{key}={before.get(key)}, "
                f"{store.folder} was prepared with {now.get(key)}; prepare with the same features, or train from "
                "scratch (warm_start.checkpoint=null)"
            )
    return WarmStart(folder=folder, trained_on=trained_on, optimizer=optimizer)


def check_carried(key: str, config: DictConfig, folder: Path | None) -> None:
    """Refuses to carry moments from or to tables divided by rows, as these have moments only of rows that steps met.

    Args:
        key: key whose value is `carry`.
        config: configuration of the training that would start with them.
        folder: folder of the run that has them; null: not known yet.

    Raises:
        UserError: one of the two has divided tables.
    """
    found = {"this training": config.rows} | ({} if folder is None else {str(folder): config_of_run(folder).rows})
    for whose, rows in found.items():
        if rows != WHOLE_ROWS:
            raise UserError(
                f"{key}=carry: {whose} has rows=divided, whose moments are of rows that its steps met alone, and are "
                f"not carried; give {key}=reset, or rows=whole from the first run on"
            )


def store_of_run(folder: Path, stores: Path) -> Store:
    """Opens the store that a run was trained on.

    Args:
        folder: folder of the run.
        stores: folder of all prepared stores.

    Raises:
        UserError: the store is gone.
    """
    name = config_of_run(folder).data.name
    return Store(stores / name / read_json(folder / ENVIRONMENT_FILE)["store"])


def _codes_before(before: Vocabulary, now: Vocabulary) -> Int[np.ndarray, " codes"]:
    """Returns, by present code, the former code, -1 for a new value; unknown values have code 0 in both."""
    options = pc.SetLookupOptions(value_set=pa.array(before.values, pa.string()))
    found = pc.call_function("index_in", [pa.array(now.values, pa.string())], options).fill_null(-2)
    return np.concatenate([[0], found.to_numpy(zero_copy_only=False).astype(np.int64) + 1])
