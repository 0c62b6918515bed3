"""An invented catalogue of which only names are known, in the raw data contract: who made what, and who played it when.

    python benchmarks/data/names_world.py FOLDER --listeners 45000 --seed 0

Artists stand on a ring of genres, with ten tracks each. A listener has three places on it and plays artists near them;
popularity falls with the rank of a genre, an artist and a track (Zipf), the number of events is log-normal, sessions
stay at a place and often with an artist, and a fifth of the events repeat an earlier one of the listener. Everything is
fixed by the seed.
"""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from benchmarks.measuring import add_smallest, command_line
from towers.contract.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US

FIRST_US = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND_US
DAYS = 180
TRACKS_OF_ARTIST, ARTISTS_OF_GENRE = 10, 35
ACTIVITY_SD, MIN_EVENTS = 0.9, 4
SESSION_LENGTH, STAYS_WITH_ARTIST, REPEATS = 5.0, 0.35, 0.2
SPREAD = 12.0
"""Standard deviation, in artists, of the distance of played artists from a listener's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesWorld:
    """The size of an invented service.

    Args:
        contents: tracks, ten of each artist.
        listeners: how many there are.
        events: about so many in all.
        seed: of all that is drawn.
    """

    contents: int = 70_000
    listeners: int = 45_000
    events: int = 630_000
    seed: int = 0

    @property
    def artists(self) -> int:
        """Returns the number of them."""
        return max(self.contents // TRACKS_OF_ARTIST, 1)

    def write(self, root: Path) -> None:
        """Writes contents/ and events/ below `root`."""
        for name, table in (("contents", self.contents_table()), ("events", self.events_table())):
            (root / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, root / name / "part-0.parquet", compression="zstd")

    def contents_table(self) -> pa.Table:
        """Ids, titles and artists alone."""
        rows = np.arange(self.contents)
        artists = [[f"artist {number // TRACKS_OF_ARTIST}"] for number in rows.tolist()]
        return pa.table({
            "content_id": [f"c{row}" for row in rows.tolist()],
            "kind": ["track"] * self.contents,
            "title": [f"Title {row}" for row in rows.tolist()],
            "artist_ids": artists,
        })  # fmt: skip

    def events_table(self) -> pa.Table:
        """Plays in the order of listeners and time."""
        random = np.random.default_rng(self.seed)
        users = np.repeat(np.arange(self.listeners), self._activity(random))
        is_first = np.diff(users, prepend=-1) != 0
        is_session = is_first | (random.random(len(users)) < 1 / SESSION_LENGTH)
        contents = self._contents(random, users, is_session)
        times = _times(random, users, is_session)
        return pa.table({
            "user_id": pa.array([f"u{user}" for user in users.tolist()]),
            "content_id": pa.array([f"c{row}" for row in contents.tolist()]),
            "timestamp": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
            "action": pa.array(["play"] * len(users)),
        })  # fmt: skip

    def _activity(self, random: np.random.Generator) -> Int[np.ndarray, " listeners"]:
        drawn = random.lognormal(0.0, ACTIVITY_SD, self.listeners)
        more = max(self.events - MIN_EVENTS * self.listeners, 0)
        return MIN_EVENTS + np.round(drawn / drawn.sum() * more).astype(np.int64)

    def _contents(
        self, random: np.random.Generator, users: Int[np.ndarray, " events"], is_session: Bool[np.ndarray, " events"]
    ) -> Int[np.ndarray, " events"]:
        places = self._drawn_places(random, (self.listeners, 3))
        # Of a listener's places the first is the one they are at most often.
        place = places[users, random.choice(3, len(users), p=[0.6, 0.3, 0.1])]
        place = place[_last(is_session)]
        is_new_artist = is_session | (random.random(len(users)) > STAYS_WITH_ARTIST)
        artists = self._near(random, place)[_last(is_new_artist)]
        tracks = artists * TRACKS_OF_ARTIST + random.choice(
            TRACKS_OF_ARTIST, len(users), p=_zipf(TRACKS_OF_ARTIST, 0.0, 1.0)
        )
        return _repeated(random, users, np.minimum(tracks, self.contents - 1))

    def _drawn_places(self, random: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
        """Some genres have many more listeners than others."""
        genres = max(self.artists // ARTISTS_OF_GENRE, 1)
        genre = random.permutation(genres)[random.choice(genres, shape, p=_zipf(genres, 3.0, 1.0))]
        return (genre + random.random(shape)) * ARTISTS_OF_GENRE

    def _near(self, random: np.random.Generator, place: Float[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
        """An artist near each place: of three that are as near, the one that is played most."""
        popularity = random.permutation(_zipf(self.artists, 50.0, 0.9))
        near = np.round(place[:, None] + random.normal(0.0, SPREAD, (len(place), 3))).astype(np.int64) % self.artists
        return near[np.arange(len(near)), popularity[near].argmax(axis=1)]


def _repeated(
    random: np.random.Generator, users: Int[np.ndarray, " events"], contents: Int[np.ndarray, " events"]
) -> Int[np.ndarray, " events"]:
    """Replaces some events by repeats of earlier ones of the same listener."""
    places = np.arange(len(users))
    first = np.searchsorted(users, users)
    earlier = first + np.floor(random.random(len(users)) * (places - first)).astype(np.int64)
    source = np.where((random.random(len(users)) < REPEATS) & (places > first), earlier, places)
    while not (source[source] == source).all():
        source = source[source]
    return contents[source]


def _times(
    random: np.random.Generator, users: Int[np.ndarray, " events"], is_session: Bool[np.ndarray, " events"]
) -> Int[np.ndarray, " events"]:
    """Sessions begin at random moments of the period, in order; their events are some minutes apart."""
    session_users = users[is_session]
    # Each session begins at an hour that is drawn for it, and a listener's sessions come in the order of their hours.
    hours = np.sort(session_users * (DAYS * 24) + random.integers(0, DAYS * 24, len(session_users)))
    begins = (hours % (DAYS * 24)) * HOUR_US
    place = np.arange(len(users)) - _last(is_session)
    steps = begins[np.cumsum(is_session) - 1] + place * 3 * MINUTE_US
    # Two sessions may have drawn one hour, and long ones reach into the next: later events come later all the same.
    return FIRST_US + _rising(users, steps // SECOND_US) * SECOND_US


def _rising(users: Int[np.ndarray, " events"], seconds: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """Moves each time on to a second after the one before it of the same listener, where it does not come later.

    It counts in seconds: in microseconds the spans of 150,000 listeners one after the other would overflow an int64.
    """
    span, places = 4 * DAYS * DAY_US // SECOND_US, np.arange(len(users))
    return np.maximum.accumulate(users * span + seconds - places) + places - users * span


def _last(is_start: Bool[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """Returns the beginning of the run that each event belongs to."""
    return np.maximum.accumulate(np.where(is_start, np.arange(len(is_start)), 0))


def _zipf(count: int, shift: float, exponent: float) -> Float[np.ndarray, " ranks"]:
    """The share of each rank."""
    weight = (np.arange(1, count + 1) + shift) ** -exponent
    return weight / weight.sum()


def main() -> None:
    """Writes a world."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="where to write it; null: nowhere, to be thrown away")
    parser.add_argument("--contents", type=int, default=70_000)
    parser.add_argument("--listeners", type=int, default=45_000)
    parser.add_argument("--events", type=int, default=630_000)
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, contents=200, listeners=100, events=1_500)
    arguments = parser.parse_args()
    world = NamesWorld(
        contents=arguments.contents, listeners=arguments.listeners, events=arguments.events, seed=arguments.seed
    )
    with tempfile.TemporaryDirectory() as thrown_away:
        folder = arguments.folder or Path(thrown_away)
        world.write(folder)
        played = pq.read_table(folder / "events", columns=["user_id", "content_id"])
        plays = np.sort(np.unique(played["content_id"].to_numpy(), return_counts=True)[1])[::-1]
    share = plays[: world.contents // 100].sum() / plays.sum()
    print(
        f"{len(played):,} events of {world.listeners:,} listeners; {len(plays):,} contents of {world.contents:,} played"
    )
    print(f"the most played hundredth of the contents has {share:.1%} of the plays")


if __name__ == "__main__":
    main()
