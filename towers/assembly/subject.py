"""The subject of an evaluation: a training run or an export, on a prepared store."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.assembly.prepared import PreparedStore
from towers.assembly.run import Run, load_run
from towers.contract.provenance import Provenance
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.checks.all_checks import Listeners
from towers.evaluation.exports import ExportOnStore
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.slicings import Period
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST
from towers.training.run_folder import CONFIG_FILE, FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A trained run or an export, opened on a store.

    Args:
        vectors: the run or export, which gives vectors.
        folder: folder of the run or the export.
        fingerprint: fingerprint of the weights.
        evaluations: folder of its evaluations; an export's own folder contains only files that its manifest names.
        config: configuration or manifest that it was made with, as text.
    """

    vectors: Run | ExportOnStore
    folder: Path
    fingerprint: str
    evaluations: Path
    config: str

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def title(self) -> str:
        """Title for people."""
        run = self.vectors
        return f"{run.name}: {self.name}" if isinstance(run, Run) else f"Export {self.name}"

    @property
    def store(self) -> Store:
        """Store that it is evaluated on."""
        return self.vectors.store

    @property
    def provenance(self) -> Provenance:
        """Data that it was trained on."""
        return self.vectors.provenance

    def judged_vectors(
        self, protocol: EvaluationProtocol
    ) -> tuple[Float[np.ndarray, "users dim"], Float[np.ndarray, "contents dim"]]:
        """Returns the vectors of the listeners that the protocol judges, and of all contents."""
        contents = self.vectors.content_vectors()
        return self.vectors.user_vectors(protocol.task.user_rows, contents, protocol.period), contents

    def listeners(self, contents: np.ndarray) -> Listeners:
        """Returns a function for listeners' vectors from another store's histories of the same contents."""

        def vectors(store: Store, rows: np.ndarray, period: Period) -> np.ndarray:
            return replace(self.vectors, store=store).user_vectors(rows, contents, period)

        return vectors


def open_subject(folder: Path, stores: Path, prepared: PreparedStore, evaluations: Path) -> Subject:
    """Opens the run or export in `folder`.

    Args:
        folder: folder of a run or an export.
        stores: folder of all prepared stores.
        prepared: store on which an export is evaluated; a run is evaluated on its own.
        evaluations: folder of the evaluations of exports.

    Raises:
        UserError: there is neither a run nor an export.
    """
    if (folder / FINISHED).exists():
        run = load_run(folder, stores)
        prepared.given.check(run.store)
        text = (folder / CONFIG_FILE).read_text()
        return Subject(
            vectors=run,
            folder=folder,
            fingerprint=run.fingerprint,
            evaluations=folder,
            config=text,
        )
    if (folder / MANIFEST).exists():
        export = Export(folder)
        store = prepared.open()
        vectors = ExportOnStore(export, store)
        for note in vectors.notes():
            print(note)
        return Subject(
            vectors=vectors,
            folder=export.folder,
            fingerprint=export.manifest["version"],
            evaluations=evaluations / export.folder.name,
            config=json.dumps(export.manifest, indent=2, ensure_ascii=False),
        )
    raise UserError(
        f"{folder}: neither a finished run nor an export; give the folder that `towers train` or `towers export` named"
    )
