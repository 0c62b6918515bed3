"""The embedded demo world: a simulated audience and synthesised music, in the raw data contract.

Its sound and its listening are all invented, and drawn from one seed. Say so wherever a figure from it is shown.
"""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from jaxtyping import Float, Float32, Int

from towers.contract import schema
from towers.errors import UserError
from towers.manifest import atomic_directory, read_json, write_json
from towers.simulation.audience import Audience, draw_audience
from towers.simulation.listening import DAY_MS, Event, Listening
from towers.simulation.repertoire import Repertoire, RepertoireBuilder, opaque_id
from towers.simulation.synthesis import LANGUAGES, TRAITS, synthesise
from towers.simulation.titles import Titles

_PIECES_AN_EDITORS_PLAYLIST: Final = 20
_LISTENERS_PLAYLIST_SHARE: Final = 0.3
_MIN_LISTENERS_PLAYLIST: Final = 5

_EVENTS_SCHEMA: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("content_id", pa.string()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("action", pa.string()),
        ("played_ms", pa.int32()),
        ("context", pa.string()),
        ("session_id", pa.string()),
        ("device", pa.string()),
    ]
)
_CONTENTS_SCHEMA: Final = pa.schema(
    [
        ("content_id", pa.string()),
        ("kind", pa.string()),
        ("title", pa.string()),
        ("artist_ids", pa.list_(pa.string())),
        ("album_id", pa.string()),
        ("genres", pa.list_(pa.string())),
        ("language", pa.string()),
        ("release_date", pa.date32()),
        ("duration_ms", pa.int32()),
        ("explicit", pa.bool_()),
        ("audio", pa.string()),
    ]
)
_PLAYLISTS_SCHEMA: Final = pa.schema(
    [
        ("playlist_id", pa.string()),
        ("title", pa.string()),
        ("curator", pa.string()),
        ("owner_id", pa.string()),
        ("content_ids", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The hidden truth of the world, which no model gets; for tests.

    Args:
        user_ids: ids of the rows.
        content_ids: ids of the columns: tracks, then episodes.
        affinity: `[listeners, contents]`, how well each content matches each listener's tastes at the given time,
            without popularity; higher is better, at most 0.
        traits: `[contents, traits]`, audible traits of each content, in the order of `synthesis.TRAITS`.
    """

    user_ids: list[str]
    content_ids: list[str]
    affinity: Float[np.ndarray, "listeners contents"]
    traits: Float[np.ndarray, "contents traits"]


class World:
    """A small invented streaming service; the same arguments give the same world, byte for byte.

    Args:
        seed: seed of all random draws, at least 0.
        num_tracks: number of tracks, at least 10.
        num_episodes: number of episodes; 0 for none.
        num_listeners: number of listeners, at least 2.
        num_days: length of the period in days.
        evaluation_days: days of the validation period, and again of the test period, at the end of the period; at
            least as many days before them are for training.
        start_date: first day of the period, UTC, `YYYY-MM-DD`.
        events_per_listener: wanted mean number of events per listener; the outcome is close to it.
        new_release_share: share of the contents released during the period, in [0, 1].
        genre_missing_share: share of the contents without genres, in [0, 1].
        clip_duration_s: length of every sound in seconds, 1 to 60.
        sample_rate: sample rate of the sound in Hz, 8000 to 48000.

    Raises:
        UserError: a value is out of its range; the message names the keyword.
    """

    def __init__(
        self,
        *,
        seed: int,
        num_tracks: int,
        num_episodes: int,
        num_listeners: int,
        num_days: int,
        evaluation_days: int,
        start_date: str,
        events_per_listener: float,
        new_release_share: float,
        genre_missing_share: float,
        clip_duration_s: float,
        sample_rate: int,
    ):
        # The first statement, so that the keywords are the only locals.
        self.parameters: dict[str, Any] = {name: value for name, value in locals().items() if name != "self"}
        for name, (low, high) in _RANGES.items():
            _require(name, self.parameters[name], low, high)
        _require("evaluation_days", evaluation_days, 1, num_days // 3)
        self.start = _midnight(start_date)
        self.t2 = self.start + dt.timedelta(days=num_days - evaluation_days)
        self.t1 = self.t2 - dt.timedelta(days=evaluation_days)
        self._t1_day = num_days - 2 * evaluation_days
        builder = RepertoireBuilder(
            seed=seed,
            num_days=num_days,
            new_release_share=new_release_share,
            genre_missing_share=genre_missing_share,
        )
        self.repertoire: Repertoire = builder.build(num_tracks, num_episodes)
        self.audience: Audience = draw_audience(seed=seed, num_listeners=num_listeners, num_days=num_days)

    def write(self, folder: Path) -> None:
        """Writes the raw data set atomically.

        A folder that holds the same world is left as it is.

        Raises:
            UserError: `folder` exists and holds anything else.
        """
        if folder.exists():
            self._require_same(folder)
            return
        with atomic_directory(folder) as temporary:
            for name, table in self.tables().items():
                (temporary / name).mkdir()
                pq.write_table(table, temporary / name / "part-0.parquet")
            (temporary / "audio").mkdir()
            for row, content_id in enumerate(self.repertoire.content_ids):
                path = temporary / "audio" / f"{content_id}.flac"
                soundfile.write(path, self.sound(row), self.parameters["sample_rate"], subtype="PCM_16")
            write_json(temporary / "world.json", self._description())

    def tables(self) -> dict[str, pa.Table]:
        """Returns the tables of the raw data contract by name; events are in time order."""
        return {
            schema.EVENTS: self._events_table(),
            schema.CONTENTS: self._contents_table(),
            schema.USERS: self._users_table(),
            schema.PLAYLISTS: self._playlists_table(),
        }

    def sound(self, row: int) -> Float32[np.ndarray, " samples"]:
        """Returns the sound of the content at `row` of the repertoire, mono, in [-1, 1]."""
        code = int(self.repertoire.language_codes[row])
        return synthesise(
            self.repertoire.traits[row],
            rng=np.random.default_rng([self.parameters["seed"], 3, row]),
            duration_s=self.parameters["clip_duration_s"],
            sample_rate=self.parameters["sample_rate"],
            language=LANGUAGES[code] if code >= 0 else None,
        )

    def truth(self, time: dt.datetime) -> Truth:
        """Returns the hidden tastes at `time` (UTC)."""
        progress = (time - self.start) / dt.timedelta(days=self.parameters["num_days"])
        affinities = [
            self.audience.affinity(self.repertoire, listener, progress) for listener in range(len(self.audience))
        ]
        return Truth(
            user_ids=self.audience.user_ids,
            content_ids=self.repertoire.content_ids,
            affinity=np.stack(affinities),
            traits=self.repertoire.traits,
        )

    @cached_property
    def _editors(self) -> list[tuple[str, Int[np.ndarray, " members"]]]:
        """Titles and members of the editors' playlists: regions of audible traits, of contents released before t1."""
        rng = np.random.default_rng([self.parameters["seed"], 4])
        titles = Titles(np.random.default_rng([self.parameters["seed"], 7]))
        repertoire = self.repertoire
        is_known = repertoire.release_days < self._t1_day
        playlists = []
        for centre in rng.choice(np.flatnonzero(is_known), max(3, len(is_known) // 18)).tolist():
            theme = repertoire.traits[centre] + rng.normal(0.0, 0.4, len(TRAITS))
            distances = ((repertoire.traits - theme) ** 2).sum(axis=1)
            # Editors also favour popular contents, and never mix speech with music.
            fit = -distances + 0.5 * repertoire.log_popularity + rng.normal(0.0, 0.5, len(distances))
            is_open = is_known & (repertoire.is_speech == repertoire.is_speech[centre])
            count = min(_PIECES_AN_EDITORS_PLAYLIST, max(3, len(is_known) // 10), int(is_open.sum()))
            members = np.argsort(-np.where(is_open, fit, -np.inf), kind="stable")[:count]
            playlists.append((titles.theme(theme), members))
        return playlists

    @cached_property
    def _events(self) -> list[Event]:
        listening = Listening(
            repertoire=self.repertoire,
            audience=self.audience,
            editors=[members for _, members in self._editors],
            num_days=self.parameters["num_days"],
            events_per_listener=self.parameters["events_per_listener"],
            rng=np.random.default_rng([self.parameters["seed"], 5]),
        )
        return sorted(listening.simulate(), key=lambda event: (event.time_ms, event.listener))

    def _events_table(self) -> pa.Table:
        start_ms = round(self.start.timestamp() * 1000)
        user_ids, content_ids = self.audience.user_ids, self.repertoire.content_ids
        events = self._events
        columns = {
            "user_id": [user_ids[event.listener] for event in events],
            "content_id": [content_ids[event.content] if event.content >= 0 else None for event in events],
            "timestamp": [start_ms + event.time_ms for event in events],
            "action": [event.action for event in events],
            "played_ms": [event.played_ms if event.played_ms >= 0 else None for event in events],
            "context": [event.context for event in events],
            "session_id": [f"{user_ids[event.listener]}-{event.session}" for event in events],
            "device": [event.device for event in events],
        }
        return pa.table(columns, schema=_EVENTS_SCHEMA)

    def _contents_table(self) -> pa.Table:
        repertoire = self.repertoire
        rows: list[dict[str, Any]] = []
        for piece in repertoire.pieces:
            artist = repertoire.artists[piece.artist_row]
            rows.append(
                {
                    "content_id": piece.content_id,
                    "kind": "episode" if artist.is_speech else "track",
                    "title": piece.title,
                    "artist_ids": [artist.artist_id],
                    "album_id": repertoire.album_ids[piece.album_row] if piece.album_row >= 0 else None,
                    "genres": piece.genres,
                    "language": artist.language,
                    "release_date": (self.start + dt.timedelta(days=piece.release_day)).date(),
                    "duration_ms": piece.duration_ms,
                    "explicit": piece.is_explicit,
                    "audio": f"audio/{piece.content_id}.flac",
                }
            )
        for artist in repertoire.artists:
            own = {"content_id": artist.artist_id, "artist_ids": [artist.artist_id]}
            rows.append({**own, "kind": "artist", "title": artist.name, "language": artist.language})
        return pa.Table.from_pylist(rows, schema=_CONTENTS_SCHEMA)

    def _users_table(self) -> pa.Table:
        return pa.table(
            {
                "user_id": self.audience.user_ids,
                "country": self.audience.countries,
                "age_band": self.audience.age_bands,
                "deleted": self.audience.is_deleted,
            }
        )

    def _playlists_table(self) -> pa.Table:
        seed, content_ids = self.parameters["seed"], self.repertoire.content_ids
        playlists = [("editor", None, title, members.tolist()) for title, members in self._editors]
        playlists += [("listener", *playlist) for playlist in self._listeners_playlists()]
        rows = [
            {
                "playlist_id": opaque_id("p", seed, number),
                "title": title,
                "curator": curator,
                "owner_id": owner_id,
                "content_ids": [content_ids[row] for row in members],
            }
            for number, (curator, owner_id, title, members) in enumerate(playlists)
        ]
        return pa.Table.from_pylist(rows, schema=_PLAYLISTS_SCHEMA)

    def _listeners_playlists(self) -> list[tuple[str, str, list[int]]]:
        """Returns owner, title and members of the listeners' playlists: favourites from before t1."""
        rng = np.random.default_rng([self.parameters["seed"], 6])
        titles = Titles(rng)
        shape = (len(self.audience), len(self.repertoire.pieces))
        counts = np.zeros(shape, dtype=np.int64)
        for event in self._events:
            if event.action in ("play", "like", "save") and event.time_ms < self._t1_day * DAY_MS:
                counts[event.listener, event.content] += 1
        has_playlist = rng.random(len(counts)) < _LISTENERS_PLAYLIST_SHARE
        has_playlist &= (counts > 0).sum(axis=1) >= _MIN_LISTENERS_PLAYLIST
        playlists = []
        for listener in np.flatnonzero(has_playlist).tolist():
            known = np.argsort(-counts[listener], kind="stable")[: int((counts[listener] > 0).sum())]
            members = known[: int(rng.integers(_MIN_LISTENERS_PLAYLIST, 25))].tolist()
            playlists.append((self.audience.user_ids[listener], titles.listeners_playlist(), members))
        return playlists

    def _description(self) -> dict[str, Any]:
        """Returns the content of `world.json`: all but the hidden truth."""
        return {
            "note": "Invented: the sound is synthesised and the listening simulated.",
            "parameters": self.parameters,
            "t1": self.t1.isoformat(),
            "t2": self.t2.isoformat(),
        }

    def _require_same(self, folder: Path) -> None:
        path = folder / "world.json"
        if not path.exists() or read_json(path) != self._description():
            raise UserError(f"{folder}: exists and does not hold this world; choose another folder or remove it")


# Both ends are allowed.
_RANGES: Final[dict[str, tuple[int | float, int | float]]] = {
    "seed": (0, 2**63 - 1),
    "num_tracks": (10, 1_000_000),
    "num_episodes": (0, 1_000_000),
    "num_listeners": (2, 1_000_000),
    "num_days": (8, 3650),
    "events_per_listener": (1.0, 100_000.0),
    "new_release_share": (0.0, 1.0),
    "genre_missing_share": (0.0, 1.0),
    "clip_duration_s": (1.0, 60.0),
    "sample_rate": (8000, 48_000),
}


def _require(name: str, value: int | float, low: int | float, high: int | float) -> None:
    # Written so that NaN is refused too.
    if not low <= value <= high:
        raise UserError(f"{name}={value}: must be from {low} to {high}")


def _midnight(start_date: str) -> dt.datetime:
    try:
        day = dt.date.fromisoformat(start_date)
    except ValueError:
        raise UserError(f"start_date={start_date!r}: must be a day like 2026-01-05") from None
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
