"""`towers embed`: numbers on standard output alone, or a file that `towers recommend vector=` reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import ok, refused, towers
from towers import api

GOLDEN = Path(__file__).parents[1] / "golden" / "format-2" / "export"
GIVEN = (f"export='{GOLDEN}'", "check=false")
TRACK = "ca916fb63"


def test_what_is_printed_is_the_vector(tmp_path: Path) -> None:
    done = towers(tmp_path, "embed", *GIVEN, f"history=[{TRACK}]", "features={country: xx}")
    np.testing.assert_allclose(json.loads(done.stdout), api.embed([TRACK], export=GOLDEN), atol=1e-6)
    assert done.stderr == "towers: unknown to this export, and ignored: features.country=xx\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_to_ask_with(tmp_path: Path) -> None:
    said = ok(tmp_path, "embed", *GIVEN, "metadata={genres: [folk]}", "output=folk.npy")
    assert said == "wrote folk.npy: 8 numbers of space 41b2dd3f489b6011\n"
    by_vector = ok(tmp_path, "recommend", *GIVEN, "vector=folk.npy", "kind=track", "k=3")
    near = ok(tmp_path, "similar", *GIVEN, "metadata={genres: [folk]}", "k=3")
    assert by_vector.splitlines()[1:] == near.splitlines()[1:]
    assert by_vector.startswith("Recommended to this vector")


@pytest.mark.parametrize("asked", [(), (f"history=[{TRACK}]", "metadata={genres: [folk]}"), ("features={}",)])
def test_a_listener_or_a_content(tmp_path: Path, asked: tuple[str, ...]) -> None:
    said = refused(tmp_path, "embed", *GIVEN, *asked)
    assert said == "towers: give either history and features of a listener, or audio and metadata of a content"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("history=[gone]", "history: 'gone': no content with this id or title"),
        ("history=[{content_id: x, action: hum}]", "action 'hum': there are play"),
        ("metadata=folk", "metadata='folk': must be"),
        ("audio=none.ogg", "none.ogg: no such file"),
        ("audio=none.npy", "audio=none.npy: no such file"),
    ],
)
def test_mistakes(tmp_path: Path, asked: str, said: str) -> None:
    assert refused(tmp_path, "embed", *GIVEN, asked).startswith(f"towers: {said}")
