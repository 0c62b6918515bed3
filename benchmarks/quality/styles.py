"""The style of contents that training has not seen, told by their ten nearest contents of training in the space.

    towers train experiment=catalogue
    python benchmarks/quality/styles.py runs/catalogue/<signature>

Styles come from labels.parquet of `catalogue`, which no training reads. Beside the space stand the frozen statistics of
the sound (mean and deviation of every mel band, standardised) with the same vote, and the most frequent style. The vote
is the majority's, of equals the nearer one's. Contents whose style no content of training has are left out.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.run import load_run
from towers.data.store import Store

DATA = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data"))
NEIGHBOURS = 10


def styles_of(store: Store, labels: Path) -> np.ndarray:
    """Returns the style of each row of the store, "" where none is known."""
    table = pq.read_table(labels, columns=["content_id", "style"])
    known = dict(zip(table["content_id"].to_pylist(), table["style"].to_pylist(), strict=True))
    return np.array([known.get(str(content_id)) or "" for content_id in store.content_ids])


def statistics(store: Store) -> Float[np.ndarray, "contents statistics"]:
    """Unit vectors of the standardised mean and deviation of each mel band; zero without sound."""
    found = np.zeros((len(store.content_ids), 2 * store.features.spectrogram.n_mels))
    has_sound = np.flatnonzero(store.audio_rows >= 0)
    for row in has_sound:
        record = store.spectrograms.records[store.audio_rows[row]].astype(np.float64)
        found[row] = np.concatenate([record.mean(axis=1), record.std(axis=1)])
    heard = found[has_sound]
    found[has_sound] = (heard - heard.mean(axis=0)) / heard.std(axis=0)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def accuracy(
    vectors: Float[np.ndarray, "contents dim"],
    styles: np.ndarray,
    held_out: Int[np.ndarray, " held_out"],
    trained: Int[np.ndarray, " trained"],
) -> float:
    """Share of `held_out` whose neighbours' vote is their style."""
    order = np.argsort(-(vectors[held_out] @ vectors[trained].T), axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.array([vote(styles[trained[near]]) for near in order])
    return float(np.mean(votes == styles[held_out]))


def vote(near: np.ndarray) -> str:
    """The majority's style; of equals the one that comes first."""
    names, first, counts = np.unique(near, return_index=True, return_counts=True)
    return names[np.lexsort((first, -counts))[0]]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--stores", type=Path, default=Path("stores"))
    parser.add_argument("--labels", type=Path, default=DATA / "catalogue" / "labels.parquet")
    add_smallest(
        parser,
    )
    arguments = parser.parse_args()
    table = Table("", "held out", "accuracy", title=f"Style by the {NEIGHBOURS} nearest contents of training")
    figures = []
    for folder in arguments.runs:
        run = load_run(folder, arguments.stores)
        store = run.store
        styles = styles_of(store, arguments.labels)
        is_heard = (styles != "") & (store.audio_rows >= 0)
        trained = np.flatnonzero(is_heard & (store.train_positives > 0))
        held_out = np.flatnonzero(is_heard & (store.train_positives == 0) & np.isin(styles, styles[trained]))
        most = np.unique(styles[trained], return_counts=True)
        found = {
            str(folder): accuracy(np.asarray(run.content_vectors(), np.float64), styles, held_out, trained),
            "frozen statistics of the sound": accuracy(statistics(store), styles, held_out, trained),
            "the most frequent style": float(np.mean(styles[held_out] == most[0][most[1].argmax()])),
        }
        for name, figure in found.items():
            table.add_row(name, f"{len(held_out):,}", f"{figure:.3f}")
        figures.append({"run": str(folder), "held_out": len(held_out), "accuracy": found})
    Console().print(table)
    write_result(arguments, "styles", {"neighbours": NEIGHBOURS, "runs": figures})


if __name__ == "__main__":
    main()
