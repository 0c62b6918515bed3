"""Draws the handbook's two pictures, docs/pictures/overview.svg and docs/pictures/rooms.svg.

python scripts/drawn_pictures.py

Each box has a fill of its own with dark text on it, and what stands outside of boxes is a grey that is readable on
white and on black, so one file serves light and dark pages. The rooms and their order are read from pyproject.toml.
"""

import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "pictures"

WIDTH = 720
INK = "#16202c"
GREY = "#76859a"
DATA, TOWER, SPACE, GIVEN, LATER = "#cfe3f7", "#bfe8df", "#e9f6f2", "#fbe3c0", "#e6dcf5"

ROOM_COLOURS = [
    (GIVEN, ("cli", "api", "commands", "assembly", "config", "lifecycle")),
    (TOWER, ("publishing", "training", "models")),
    (LATER, ("service", "policies", "simulation", "evaluation")),
    (DATA, ("retrieval", "data", "features")),
]
PLAIN = "#dfe4ea"

ROOM_WORDS = {
    "cli": "the command line",
    "api": "the same from Python",
    "commands": "a recipe each",
    "assembly": "a configuration becomes built parts",
    "config": "the lowest room that knows Hydra",
    "lifecycle": "nights, the gate, what may go",
    "publishing": "a network becomes an export",
    "training": "steps, objectives, resumption",
    "service": "HTTP over an export",
    "policies": "lists",
    "simulation": "listeners",
    "evaluation": "figures",
    "models": "towers",
    "retrieval": "reads an export, no torch",
    "data": "raw tables become a store",
    "features": "events, metadata and sound as numbers",
    "batch": "tensors",
    "manifest": "atomic writes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle with a title and smaller lines under it.

    Args:
        x: left edge, in the picture's units (WIDTH across).
        y: upper edge.
        width: in the same units.
        height: in the same units.
        fill: colour.
        title: bold, first line.
        lines: further lines.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str
    title: str
    lines: tuple[str, ...] = ()

    @property
    def middle(self) -> float:
        """The column of its centre."""
        return self.x + self.width / 2

    def svg(self) -> str:
        """Returns the rectangle and its text, centred."""
        first = self.y + self.height / 2 + 7 - 11 * len(self.lines)
        texts = [text(self.middle, first, self.title, 20, bold=True)]
        texts += [text(self.middle, first + 23 * (row + 1), line, 17) for row, line in enumerate(self.lines)]
        size = f'width="{self.width:g}" height="{self.height:g}"'
        shape = f'<rect x="{self.x:g}" y="{self.y:g}" {size} rx="10" fill="{self.fill}"/>'
        return "\n".join([shape, *texts])


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, picture in {"overview": overview(), "rooms": rooms(layers())}.items():
        (TARGET / f"{name}.svg").write_text(picture)


def layers() -> list[list[str]]:
    """Returns the rooms by layer, the highest first, as import-linter checks them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    written = next(contract["layers"] for contract in contracts if contract["name"].startswith("Rooms"))
    return [[room.strip("() ") for room in layer.split("|")] for layer in written]


def overview() -> str:
    """Returns the picture of what goes in, what is made of it, and what listeners get."""
    history = Box(x=10, y=10, width=340, height=86, fill=DATA, title="Listening", lines=("plays, skips, likes, saves",))
    known = Box(
        x=370, y=10, width=340, height=86, fill=DATA, title="Catalogue", lines=("sound, artists, genres, playlists",)
    )
    user = Box(x=60, y=142, width=240, height=86, fill=TOWER, title="User tower", lines=("a history → a vector",))
    content = Box(
        x=420, y=142, width=240, height=86, fill=TOWER, title="Content tower", lines=("a content → a vector",)
    )
    space = Box(x=10, y=274, width=700, height=170, fill=SPACE, title="")
    given = [
        Box(x=10 + 178 * place, y=506, width=166, height=86, fill=GIVEN, title=title, lines=(line,))
        for place, (title, line) in enumerate(
            [
                ("Similar", "tracks, artists"),
                ("Discover", "a list each week"),
                ("Blends", "for two and more"),
                ("Home page", "cards in order"),
            ]
        )
    ]
    later = Box(
        x=10,
        y=638,
        width=700,
        height=86,
        fill=LATER,
        title="Simulator and agent",
        lines=("listeners fitted to the log; slates tried and trained on them",),
    )
    parts = [box.svg() for box in (history, known, user, content, space, *given, later)]
    parts += [
        text(360, 304, "One space", 20, bold=True),
        text(360, 430, "an inner product is affinity; a new track stands where its sound puts it", 17),
        points(),
    ]
    parts += [arrow(history.middle, 96, 142), arrow(known.middle, 96, 142)]
    parts += [arrow(user.middle, 228, 274), arrow(content.middle, 228, 274)]
    parts += [text(360, 488, "what listeners get", 17, fill=GREY)]
    parts += [arrow(box.middle, 444, 506) for box in given]
    parts += [arrow(360, 592, 638)]
    said = (
        "Listening histories go through the user tower and the catalogue through the content tower into one space of "
        "vectors. From it come similar tracks, Discover Weekly, blends and the home page. A simulator of listeners and "
        "an agent stand on it, too."
    )
    return drawing("From raw events to what listeners get", said, 734, parts)


def points() -> str:
    """Returns the space's points: listeners, what they may hear, and one new track among its like."""
    tracks = [(96, 340), (132, 366), (168, 334), (206, 372), (318, 338), (340, 372), (392, 344), (500, 368), (536, 336)]
    tracks += [(574, 366), (612, 344), (646, 370), (262, 356), (448, 366)]
    listeners = [(144, 346), (364, 354), (588, 354)]
    shapes = [track(x, y) for x, y in tracks]
    shapes += [listener(x, y) for x, y in listeners]
    shapes += [new_track(228, 342)]
    shapes += [track(70, 394), text(86, 400, "track, artist, playlist", 16, anchor="start")]
    shapes += [listener(314, 394), text(332, 400, "listener", 16, anchor="start")]
    shapes += [new_track(446, 394), text(464, 400, "new, not played yet", 16, anchor="start")]
    return "\n".join(shapes)


def track(x: float, y: float) -> str:
    """Returns the sign of a content."""
    return f'<circle cx="{x}" cy="{y}" r="7" fill="#2b7fc4"/>'


def new_track(x: float, y: float) -> str:
    """Returns the sign of a content without plays."""
    return f'<circle cx="{x}" cy="{y}" r="8" fill="none" stroke="#2b7fc4" stroke-width="4"/>'


def listener(x: float, y: float) -> str:
    """Returns the sign of a listener."""
    return f'<path d="M{x} {y - 11} l11 19 h-22 z" fill="#c2571a"/>'


def rooms(written: list[list[str]]) -> str:
    """Returns the picture of the layers: each room may import the rooms below its line.

    Args:
        written: names of rooms by layer, the highest first.
    """
    parts: list[str] = []
    y = 10
    for layer in written:
        width = (700 - 10 * (len(layer) - 1)) / len(layer)
        for place, room in enumerate(layer):
            words = (ROOM_WORDS[room],) if room in ROOM_WORDS else ()
            fill = next((colour for colour, names in ROOM_COLOURS if room in names), PLAIN)
            height = 66 if words else 40
            parts.append(
                Box(
                    x=10 + (width + 10) * place, y=y, width=width, height=height, fill=fill, title=room, lines=words
                ).svg()
            )
        y += 76 if any(room in ROOM_WORDS for room in layer) else 50
    said = "; ".join(", ".join(layer) for layer in written)
    return drawing("The rooms in layers: each may import the rooms below it", f"From top to bottom: {said}.", y, parts)


def drawing(title: str, said: str, height: int, parts: list[str]) -> str:
    """Returns a whole SVG file, with words for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" font-family="system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(said)}</desc>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def text(
    x: float, y: float, words: str, size: int, *, bold: bool = False, fill: str = INK, anchor: str = "middle"
) -> str:
    """Returns a line of text whose baseline is `y`."""
    look = f'text-anchor="{anchor}" font-size="{size}" fill="{fill}"' + (' font-weight="600"' if bold else "")
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(words)}</text>'


def arrow(x: float, top: float, bottom: float) -> str:
    """Returns an arrow that points down."""
    return (
        f'<path d="M{x:g} {top + 4:g} V{bottom - 12:g}" stroke="{GREY}" stroke-width="3" fill="none"/>'
        f'<path d="M{x - 7:g} {bottom - 14:g} h14 l-7 11 z" fill="{GREY}"/>'
    )


if __name__ == "__main__":
    main()
