"""Measures what leading dimensions keep of listeners' lists, as a network was trained and turned onto principal axes.

    towers train -m experiment=catalogue seed=0,1,2
    python benchmarks/export/principal_axes.py runs/catalogue/<signature> [runs/catalogue/<signature> ...]

Axes are fitted on the contents and on half of the listeners, and judged on those of the others who choose something in
the test period: the share of the nearest 20 by all dimensions that the leading ones find, for at most 500 of them, and
recall@20 of what they choose. Below is what codes of few bits of the turned vectors find of the nearest 20.
"""

from pathlib import Path
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.run import load_run
from towers.publishing.axes import fitting_listeners, principal_axes
from towers.publishing.codes import CODES, Code, recall_of_codes
from towers.publishing.held_out import HeldOutListening, recall_by_dimension
from towers.publishing.leading import dimensions_up_to, nearest, share_kept, spread
from towers.publishing.projection import Projection

SIGNS = Code(name="one bit, no turn", candidates=200, index=lambda dim: faiss.IndexLSH(dim, dim, False, False))
AS_TRAINED, OF_CONTENTS, ON_AXES = "as trained", "axes of contents alone", "axes"


def measured(folder: Path, stores: Path, min_users: int) -> dict[str, Any]:
    """Returns for one run, by what its vectors are turned onto: the share that is kept and recall@20, by dimension."""
    run = load_run(folder, stores)
    contents, fitting = run.content_vectors(), fitting_listeners(run.store)
    held_out = HeldOutListening(run.store, min_users=min_users)
    judged = np.flatnonzero(~np.isin(held_out.user_rows, fitting))
    users = run.user_vectors(held_out.user_rows[judged], contents, "test")
    listeners = run.user_vectors(fitting, contents, "test")
    some, allowed, dims = spread(users), held_out.is_candidate, dimensions_up_to(contents.shape[1])
    whole = nearest(some, contents, allowed, contents.shape[1])
    turns = {
        AS_TRAINED: np.eye(contents.shape[1]),
        OF_CONTENTS: principal_axes(contents, listeners[:0]),
        ON_AXES: principal_axes(contents, listeners),
    }
    turned = {name: Projection(axes=axes).apply for name, axes in turns.items()}
    found = {
        name: {
            "kept": share_kept(whole, turn(some), turn(contents), allowed, dims),
            "recall@20": recall_by_dimension(held_out, turn(contents), turn(users), judged),
        }
        for name, turn in turned.items()
    }
    return {
        "run": folder.name,
        "seed": run.config["seed"],
        "fitted_on": len(fitting),
        "judged": len(judged),
        "turns": found,
        "codes": recall_of_codes(turned[ON_AXES](some), turned[ON_AXES](contents), allowed, [*CODES, SIGNS]),
    }


def as_table(result: dict[str, Any]) -> Table:
    dims = list(result["turns"][AS_TRAINED]["kept"])
    title = f"seed {result['seed']}: axes from {result['fitted_on']:,} listeners, judged on {result['judged']:,} others"
    table = Table("dimensions", *map(str, dims), title=title)
    for name, figures in result["turns"].items():
        for figure, by_dimension in figures.items():
            table.add_row(f"{name}, {figure}", *(f"{value:.3f}" for value in by_dimension.values()))
    return table


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--stores", type=Path, default=Path("stores"), help="where the runs' stores stand")
    parser.add_argument("--min-users", type=int, default=100, help="of the test period; fewer are no figure")
    add_smallest(parser, min_users=2)
    arguments = parser.parse_args()
    console, results = Console(width=160), []
    for folder in arguments.runs:
        results.append(measured(folder, arguments.stores, arguments.min_users))
        console.print(as_table(results[-1]))
        console.print({name: code.get("recall@20", 1.0) for name, code in results[-1]["codes"].items()})
    write_result(arguments, "principal_axes", {"runs": results})


if __name__ == "__main__":
    main()
