"""Measures what is lost while two versions are mixed: old listeners against new contents, before and after the map of
spaces.

    towers train -m experiment=catalogue seed=0,1,2
    python benchmarks/export/space_versions.py runs/catalogue/<first> runs/catalogue/<second> [runs/catalogue/<third>]

Every run is exported by itself, in the order given, the earlier ones first, and each is aligned with the one before it.
With three or more, listeners of the first version also meet contents of the last, through the chain of the maps, and
through a map of their own. The listeners of the test period choose among the whole catalogue; where there are more
than 2,000 so many are drawn.
"""

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.run import Run, load_run
from towers.commands import export as command
from towers.config.composing import compose
from towers.evaluation.exports import ExportOnStore
from towers.publishing.alignment import MAPPED, NEW_NEW, OLD_OLD, UNMAPPED, Alignment, align
from towers.publishing.held_out import RECALL, HeldOutListening
from towers.publishing.projection import Projection
from towers.retrieval.export import Export
from towers.retrieval.rotation import SpaceRotation, SpaceVersion

PAIRS = (NEW_NEW, OLD_OLD, UNMAPPED, MAPPED)


class Version:
    """A run with an export of its own.

    Args:
        folder: of the run.
        stores: where its store is.
        exports: an empty folder.
        min_users: of the test period; fewer are no figure.
    """

    def __init__(self, folder: Path, stores: Path, exports: Path, min_users: int):
        self.run: Run = load_run(folder, stores, is_compact=True)
        self.name = f"seed {self.run.config['seed']}"
        # In a folder of its own, so that it is not turned into the space of another.
        keys = [f"checkpoint={folder}", f"paths.stores={stores}", f"paths.exports={exports / folder.name}",
                f"evaluation.min_users={min_users}", "export.variants=[]"]  # fmt: skip
        self.export = Export(command.run(compose("export", keys)))
        self.contents = np.array(self.export.vectors)
        self.held_out = HeldOutListening(self.run.store, min_users=min_users)
        assert self.export.axes is not None
        listeners = self.run.user_vectors(self.held_out.user_rows, self.run.content_vectors(), "test")
        self.users = Projection(axes=self.export.axes).apply(listeners)

    @property
    def source(self) -> SpaceVersion:
        """The version and its space."""
        return SpaceVersion(version=self.export.folder.name, space_id=self.export.space_id)


def aligned(earlier: Version, new: Version) -> tuple[Alignment, float]:
    """Returns the result, and the core-seconds that it took."""
    begin = time.process_time()
    found = align(earlier.export, new.held_out, new.contents, new.users, new.source)
    return found, time.process_time() - begin


def chained(first: Version, last: Version, maps: list[SpaceRotation], direct: SpaceRotation) -> dict[str, Any]:
    """Recall of the first version's listeners against the last one's contents, through the chain and directly."""
    chain = SpaceRotation.chain(maps[::-1])  # from the last to the one before it, and so on
    old = ExportOnStore(first.export, last.run.store)
    users = old.user_vectors(last.held_out.user_rows, old.content_vectors(), "test")
    figures = {
        name: last.held_out.evaluate(name, through.inverse().apply(users), last.contents).means()[RECALL]
        for name, through in (("chain", chain), ("direct", direct))
    }
    cosine = np.einsum("rd,rd->r", chain.apply(last.contents), direct.apply(last.contents)).mean()
    return {RECALL: figures, "residual_of_chain": chain.residual, "cosine_of_chain_and_direct": float(cosine)}


def as_table(rows: list[dict[str, Any]]) -> Table:
    names = ("fitted on", *PAIRS, "share (95 %)", "overlap@10", "cosine", "mapped", "keeps")
    table = Table("earlier, new", *names, title=f"{RECALL} of the test period")
    for row in rows:
        drift, bounds = row["drift"], row["recall_share_95%"]
        table.add_row(
            row["name"],
            f"{row['trained_in_both']:,}",
            *(f"{row[RECALL][pair]:.4f}" for pair in PAIRS),
            f"{row['recall_share']:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})",
            f"{drift['neighbour_overlap']:.3f}",
            f"{drift['cosine_before_map']:.3f}",
            f"{drift['cosine_after_map']:.3f}",
            "yes" if row["keeps_space"] else "no",
        )
    return table


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--min-users", type=int, default=100, help="of the test period; fewer are no figure")
    parser.add_argument("--stores", type=Path, default=Path("stores"))
    add_smallest(parser, min_users=2)
    arguments = parser.parse_args()
    if len(arguments.runs) < 2:
        parser.error("two runs or more")
    console = Console(width=200)
    with tempfile.TemporaryDirectory() as folder:
        versions = [Version(run, arguments.stores, Path(folder), arguments.min_users) for run in arguments.runs]
        links = list(itertools.pairwise(versions))
        pairs = links if len(versions) == 2 else [*links, (versions[0], versions[-1])]
        rows, found = [], []
        for earlier, new in pairs:
            alignment, seconds = aligned(earlier, new)
            found.append(alignment)
            runs = [earlier.run.folder.name, new.run.folder.name]
            rows.append(
                {"name": f"{earlier.name}, {new.name}", "runs": runs, **alignment.report, "core_seconds": seconds}
            )
        console.print(as_table(rows))
        result: dict[str, Any] = {"pairs": rows}
        if len(versions) > 2:
            maps = [alignment.rotation for alignment in found]
            result["chain"] = chained(versions[0], versions[-1], maps[:-1], maps[-1])
            console.print(result["chain"])
    write_result(arguments, "space_versions", result)


if __name__ == "__main__":
    main()
