"""Figures, rows and links of nights, without wandb."""

import subprocess
import sys
from pathlib import Path

import pytest

from towers.lifecycle.record import Record
from towers.lifecycle.watching.wandb_arrived import missing
from towers.lifecycle.watching.wandb_links import Link, added, keep, kept, made, note
from towers.lifecycle.watching.wandb_names import alias_of, artifact_name
from towers.lifecycle.watching.wandb_tables import MOST_POINTS, curve, figures_of, gate_rows, slice_rows

MOVING = ("candidate", "champion", "rejected")


def link(version, *aliases):
    return Link(artifact="small-export", version=version, registry="wandb-registry-model/towers", aliases=aliases)


def test_a_roll_back_waits_for_no_library_that_it_does_without():
    code = "import sys, towers.lifecycle.watching.wandb_night; print(*sys.modules)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pytorch_lightning", "matplotlib", "wandb"}.intersection(there)


def test_a_figure_that_is_no_number_is_left_empty():
    """JSON has the figure as text."""
    outcome = {"rule": "finite", "status": "refused", "words": "nan", "figures": {"worst": "nan"}}
    record = Record(night="n", verdict={"outcomes": [{**outcome, "limit": "inf", "interval": ["nan", 0.5]}]})
    rows = gate_rows(record)
    assert rows is not None
    assert rows.rows == [["finite", "refused", "nan", '{"worst": "nan"}', None, None, 0.5]]
    assert gate_rows(Record(night="n")) is None


def test_slices_of_whoever_has_them():
    means = {"tonight": {"recall@20": 0.5, "ndcg@20": 0.1}, "champion": {"recall@20/discovery": 0.25}}
    rows = slice_rows(means, "recall@20")
    assert rows is not None
    assert rows.columns == ("slice", "tonight", "champion")
    assert rows.rows == [["all", 0.5, None], ["discovery", None, 0.25]]
    assert slice_rows({}, "recall@20") is None


def test_a_long_curve_is_thinned(tmp_path):
    lines = ["step,loss,validation/recall@20,validation/recall@5", *(f"{step},0.5,,0.1" for step in range(5_000))]
    (tmp_path / "metrics.csv").write_text("\n".join([*lines, "5000,,0.75,0.1"]))
    points = curve(tmp_path, ["recall@20"])
    assert len(points) == MOST_POINTS
    assert points[0] == {"step": 0, "loss": 0.5}
    assert points[-1] == {"step": 5000, "validation/recall@20": 0.75}
    assert curve(Path("nowhere"), []) == []


def test_nested_figures():
    assert dict(figures_of({"a": {"b": 1, "c": [1]}, "d": "x", "e": None})) == {"a/b": 1, "d": "x"}


def test_a_later_link_takes_the_aliases_over(tmp_path):
    """Links may be synced in another order; no earlier link takes an alias back from a later one."""
    links = added([], link("v1", "champion", "v1"), MOVING)
    links = added(links, link("v2", "champion", "v2"), MOVING)
    keep(tmp_path, links)
    assert kept(tmp_path) == [link("v1", "v1"), link("v2", "champion", "v2")]
    keep(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    assert kept(tmp_path) == []


def test_what_is_not_synced_is_linked_later(tmp_path):
    """The newest comes first; links that another process notes meanwhile are kept."""
    said, done = [], []

    class Synced:
        def link(self, registry, aliases):
            done.append((registry, aliases))
            note(tmp_path, link("v3", "v3"), ("champion",))

    def find(name):
        if name.endswith("v1"):
            raise ValueError("no such artifact")
        return Synced()

    links = [link("v1", "v1"), link("v2", "champion", "v2")]
    keep(tmp_path, links)
    assert made(tmp_path, find, said.append) == "small-export:v1: ValueError: no such artifact"
    assert kept(tmp_path) == [links[0], link("v3", "v3")]
    assert done == [("wandb-registry-model/towers", ["champion", "v2"])]
    assert said == ["small-export:v2 is linked to wandb-registry-model/towers"]


def test_what_has_not_come_to_the_server_is_named():
    class Artifact:
        def __init__(self, state):
            self.state = state

    found = {"a:v1": Artifact("COMMITTED"), "b:v1": Artifact("PENDING")}
    assert list(missing(["a:v1", "b:v1", "c:v1"], found.__getitem__)) == [
        "b:v1 is not whole: PENDING",
        "c:v1 is not there: KeyError: 'c:v1'",
    ]


@pytest.mark.parametrize(("name", "alias"), [("20260714-001-ab", "20260714-001-ab"), ("a/b:c d", "a-b-c-d")])
def test_names_that_wandb_takes(name, alias):
    assert alias_of(name) == alias
    assert artifact_name("my set/x", "store") == "my-set-x-store"
