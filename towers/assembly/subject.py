"""What `evaluate` is asked to judge: a training run or an export, on a prepared store."""

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
    """Somebody with vectors.

    Args:
        vectors: gives them.
        folder: of the run or the export.
        fingerprint: of the weights.
        evaluations: where its evaluations stand. An export's own folder holds nothing that its manifest does not name.
        config: what it was made with, as text.
    """

    vectors: Run | ExportOnStore
    folder: Path
    fingerprint: str
    evaluations: Path
    config: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    @property
    def title(self) -> str:
        """For people."""
        run = self.vectors
        return f"{run.name}: {self.name}" if isinstance(run, Run) else f"Export {self.name}"

    @property
    def store(self) -> Store:
        """What it is judged on."""
        return self.vectors.store

    @property
    def provenance(self) -> Provenance:
        """What it was trained on."""
        return self.vectors.provenance

    def judged_vectors(
        self, protocol: EvaluationProtocol
    ) -> tuple[Float[np.ndarray, "users dim"], Float[np.ndarray, "contents dim"]]:
        """Gives the vectors of the listeners that the protocol judges, and of all contents."""
        contents = self.vectors.content_vectors()
        return self.vectors.user_vectors(protocol.task.user_rows, contents, protocol.period), contents

    def listeners(self, contents: np.ndarray) -> Listeners:
        """Listeners' vectors as they would be with another store's histories of the same contents."""

        def vectors(store: Store, rows: np.ndarray, period: Period) -> np.ndarray:
            return replace(self.vectors, store=store).user_vectors(rows, contents, period)

        return vectors


def open_subject(folder: Path, stores: Path, prepared: PreparedStore, evaluations: Path) -> Subject:
    """The run or export in `folder`.

    Args:
        folder: of either.
        stores: folder of all prepared stores.
        prepared: on which an export is judged; a run is on its own.
        evaluations: folder of those of exports.

    Raises:
        UserError: neither is there.
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
