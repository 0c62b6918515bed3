"""`towers demo`: the whole pipeline on a small synthetic world, ending with recommendations to look at."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.evaluation import evaluation_plan
from towers.assembly.export import export_plan
from towers.commands import evaluate, export, home, prepare, train
from towers.config.composing import compose, seen_by
from towers.config.instantiate import instantiate
from towers.contract import schema
from towers.data.compact import compacted
from towers.data.store import Store
from towers.policies.bandit.policy_file import CURRENT
from towers.retrieval.export import Export
from towers.retrieval.mixing import listeners_against
from towers.retrieval.original import Original
from towers.retrieval.query import Query
from towers.retrieval.show import found_table, history_table, title_card
from towers.training.rank import is_first_process

SHOWN = 8
VISITS = 200


def run(config: DictConfig) -> Path:
    """Makes the world, prepares, trains, evaluates, exports, and prints examples; returns the export's folder."""
    world = Path(config.data.root)
    print(f"1/6 world: {world}")
    instantiate(config.world, "world").write(world)
    print("2/6 prepare")
    store = prepare.prepare(seen_by("prepare", config))
    print("3/6 train")
    folder = train.run(seen_by("train", config))
    if not is_first_process():
        return folder
    print("4/6 evaluate")
    evaluate.evaluate(evaluation_plan(seen_by("evaluate", config)), folder)
    print("5/6 export")
    target = export.export(export_plan(seen_by("export", config)), folder)
    print("6/6 home page")
    at_home = learn_home(target, Path(config.paths.policies) / config.data.name)
    opened, compact = Export(target), compacted(store)  # an export's rows are those of a store without holes
    show(opened, compact)
    home.run(compose("home", [*at_home, "action=show", f"user={opened.user_ids[typical_listener(compact)]}"]))
    print(f"your own home page: towers serve home.policy={at_home[1].partition('=')[2]}")
    return target


def learn_home(target: Path, folder: Path) -> list[str]:
    """Trains a policy on visits of invented listeners, unless one serves; returns the keys that lead `towers home` to
    it."""
    shared = [f"export={target}", f"folder={folder}", f"log={folder}-log"]
    if (folder / CURRENT).exists():
        print(f"nothing to learn: {folder} serves")
        return shared
    # The first version knows nothing and explores; its log says too little of any other, and listeners are invented.
    home.run(compose("home", [f"export={target}", f"folder={folder}", "action=train"]))
    home.run(compose("home", [*shared, "action=visit", "world=catalogue", f"visits.pages={VISITS}"]))
    home.run(compose("home", [*shared, "action=update"]))
    force = ["home_gate.force=true", "home_gate.why=the listeners of the demo are invented"]
    home.run(compose("home", [*shared, "action=gate", *force]))
    return shared


def show(opened: Export, store: Store) -> None:
    """Prints one listener's history and recommendations, and the neighbours of a track that was not played in
    training."""
    console = Console()
    listener = typical_listener(store)
    user_id = opened.user_ids[listener]
    console.print(history_table(opened, opened.chosen(listener), f"Lately chosen by listener {user_id}", limit=SHOWN))
    found = listeners_against(opened, opened).recommend(listener, Query(k=SHOWN))
    console.print(found_table(opened, found, f"Recommended to listener {user_id}"))
    piece = unheard_piece(store)
    if piece is not None:
        title, artists, *_ = title_card(opened, piece)
        original = Original.known(opened, piece)
        found = original.neighbours(opened, Query(k=SHOWN, kind=original.kind))
        console.print(found_table(opened, found, f"Similar to {title} by {artists}, not played in training"))
        print(f"more like this: towers similar content={opened.content_ids[piece]}")
    print(f"                towers recommend user={user_id}")


def typical_listener(store: Store) -> int:
    """Returns the row of the listener whose history has the median length."""
    lengths = np.diff(store.histories.offsets)
    return int(np.argsort(lengths, kind="stable")[len(lengths) // 2])


def unheard_piece(store: Store) -> int | None:
    """Returns the row of the first track with sound that training has never seen; null where there is none."""
    is_track = store.is_listed & (store.kind_codes == schema.KIND_CODES["track"])
    is_unheard = store.contents["train_events"].to_numpy() == 0
    rows = np.flatnonzero(is_track & is_unheard & (store.audio_rows >= 0))
    return int(rows[0]) if len(rows) else None
