"""A large invented service in the raw data contract, made day by day: memory grows with listeners and contents only.

    python benchmarks/data/prepare_scale_world.py --root FOLDER --events 1000000
    python benchmarks/data/prepare_scale_world.py --measure EVENTS.parquet user track session    # of a real set

What is drawn how; behind it, what `--measure` prints of the parts of 30Music and Last.fm-1K that were at hand (of the
latter at most 300 events of a listener, and no sessions):

- a content's popularity falls with its rank by the law of Zipf and Mandelbrot, (rank + 100) ** -0.9. 30Music: shift
  100, exponent 0.7; Last.fm-1K: 1,000 and 1.0;
- listeners' activity is log-normal, with a standard deviation of 1.0 of its logarithm. 30Music: 1.02;
- sessions are runs of events, of log-normal length, 2.0 and 0.75 the mean and the standard deviation of its logarithm,
  so 9.6 events in the mean. 30Music: 2.20 and 0.80;
- half of the events go to one of the listener's own twenty favourites, the first of them most often. With what repeats
  by chance a third of the events are repeats. 30Music: 0.17; Last.fm-1K: 0.37.

Everything is fixed by the seed: a day by the seed and its number, regardless of the days made before it.
"""

import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float, Int, Integer

from benchmarks.measuring import add_smallest, command_line
from towers.contract.durations import DAY_US

FIRST_DAY = date(2026, 1, 1)
ZIPF_EXPONENT, ZIPF_SHIFT = 0.9, 100.0
ACTIVITY_SD = 1.0
SESSION_LOG_MEAN, SESSION_LOG_SD, LONGEST_SESSION = 2.0, 0.75, 100
FAVOURITES, FAVOURITE_SHARE = 20, 0.5
ACTIONS = pa.array(["play", "skip", "like", "save", "search"])
ACTION_SHARES = (0.62, 0.30, 0.04, 0.025, 0.015)
PLAY, SKIP, SEARCH = 0, 1, 4
CONTEXTS = pa.array(["playlist", "home", "album", "radio", "artist", "search"])
CONTEXT_SHARES = (0.30, 0.20, 0.15, 0.13, 0.12, 0.10)
DEVICES = pa.array(["phone", "desktop", "speaker", "car"])
DEVICE_SHARES = (0.55, 0.20, 0.15, 0.10)
COUNTRIES = pa.array(["DE", "BR", "US", "IN", "JP", "FR", "GB", "MX", "SE", "KE"])
AGES = pa.array(["-17", "18-24", "25-34", "35-44", "45+"])
LANGUAGES = pa.array(["en", "de", "pt", "hi", "ja", "fr", "es", "sv", "sw", "ko"])
GENRES = pa.array([f"genre-{number:03d}" for number in range(200)])
LATE_SHARE, DUPLICATE_SHARE, FAULTY_SHARE, LATEST_DAYS = 0.001, 0.0005, 0.0001, 3
CONTENTS_PER_FILE, USERS_PER_FILE = 100_000, 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a service.

    Args:
        events: approximate number of events, since sessions are not cut.
        users: number of listeners.
        contents: number of tracks and episodes.
        days: number of days; each has a file.
    """

    events: int
    users: int
    contents: int
    days: int = 100

    @classmethod
    def of(cls, events: int) -> "Size":
        """The sizes that belong together: 2 million listeners and 1 million contents at 100 million events."""
        return cls(events=events, users=max(events // 50, 10), contents=max(events // 100, 10))


@dataclass(kw_only=True)
class World:
    """A synthetic service.

    Args:
        size: its size.
        seed: seed of all that is drawn.
        is_untidy: whether files also hold late events, repeated rows and faulty ones.
        id_digits: hexadecimal digits of an id of a listener or a content behind its first sign, 8 to 24.
    """

    size: Size
    seed: int = 0
    is_untidy: bool = False
    id_digits: int = 8
    user_ids: pa.Array = field(init=False, repr=False)
    content_ids: pa.Array = field(init=False, repr=False)
    _sessions_until: Float[np.ndarray, " users"] = field(init=False, repr=False)
    _duration_ms: Int[np.ndarray, " contents"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng((self.seed, 1))
        self.user_ids = _ids("u", self.size.users, self.id_digits)
        self.content_ids = _ids("c", self.size.contents, self.id_digits)
        activity = generator.lognormal(0.0, ACTIVITY_SD, self.size.users)
        self._sessions_until = np.cumsum(activity) / activity.sum()
        self._duration_ms = np.clip(generator.lognormal(12.3, 0.35, self.size.contents), 20_000, 3_600_000).astype(
            np.int64
        )

    def write(self, root: Path) -> None:
        """Writes events/, contents/ and users/ below `root`."""
        for name, tables in (("contents", self.contents()), ("users", self.users())):
            for number, table in enumerate(tables):
                _write(root / name / f"part-{number:02d}.parquet", table)
        for day, table in enumerate(self.events()):
            _write(root / "events" / f"{FIRST_DAY + timedelta(days=day)}.parquet", table)

    def contents(self) -> Iterator[pa.Table]:
        """Yields the contents in parts: twenty of each artist, on albums of eight."""
        for number, first in enumerate(range(0, self.size.contents, CONTENTS_PER_FILE)):
            rows = np.arange(first, min(first + CONTENTS_PER_FILE, self.size.contents))
            generator = np.random.default_rng((self.seed, 2, number))
            shuffled = (rows * 7_919) % self.size.contents  # no artist has the best ranks alone
            artists, albums = shuffled // 20, shuffled // 8
            genres = generator.integers(0, len(GENRES), (len(rows), 2))
            many = generator.random(len(rows)) < 0.4
            released = generator.integers(0, 20 * 365, len(rows))
            yield pa.table(
                {
                    "content_id": self.content_ids.take(pa.array(rows)),
                    "kind": pa.array(["track", "episode"]).take(
                        pa.array(generator.random(len(rows)) < 0.05).cast("int8")
                    ),
                    "title": _numbered("Title ", shuffled),
                    "artist_ids": pa.ListArray.from_arrays(
                        pa.array(np.arange(len(rows) + 1, dtype=np.int32)), _numbered("a", artists)
                    ),
                    "album_id": _numbered("al", albums),
                    "genres": pa.ListArray.from_arrays(
                        pa.array(np.append(0, np.cumsum(1 + many)).astype(np.int32)),
                        GENRES.take(pa.array(genres[np.stack([np.ones_like(many), many], axis=1)])),
                    ),
                    "language": LANGUAGES.take(pa.array((artists * 31) % len(LANGUAGES))),
                    "release_date": pa.array(np.datetime64(FIRST_DAY) - released.astype("timedelta64[D]")),
                    "duration_ms": pa.array(self._duration_ms[rows].astype(np.int32)),
                }
            )

    def users(self) -> Iterator[pa.Table]:
        """Yields the listeners in parts, with two columns that do not depend on what they hear."""
        for number, first in enumerate(range(0, self.size.users, USERS_PER_FILE)):
            rows = np.arange(first, min(first + USERS_PER_FILE, self.size.users))
            generator = np.random.default_rng((self.seed, 3, number))
            columns = {"country": COUNTRIES, "age_band": AGES}
            drawn = {
                name: words.take(pa.array(generator.integers(0, len(words), len(rows))))
                for name, words in columns.items()
            }
            yield pa.table({"user_id": self.user_ids.take(pa.array(rows)), **drawn})

    def events(self) -> Iterator[pa.Table]:
        """Yields the events of one file after the other, in order of time except for late ones."""
        kept: dict[int, list[pa.Table]] = {}
        for day in range(self.size.days):
            own = self.day(day)
            if self.is_untidy:
                own = self._untidy(day, own, kept)
            yield own

    def day(self, day: int) -> pa.Table:
        """Returns the events of a day in order of time."""
        generator = np.random.default_rng((self.seed, 4, day))
        mean_length = np.exp(SESSION_LOG_MEAN + SESSION_LOG_SD**2 / 2)
        num_sessions = max(round(self.size.events / self.size.days / mean_length), 1)
        lengths = np.clip(
            generator.lognormal(SESSION_LOG_MEAN, SESSION_LOG_SD, num_sessions).round(), 1, LONGEST_SESSION
        )
        lengths = lengths.astype(np.int64)
        session = np.repeat(np.arange(num_sessions), lengths)
        count = len(session)
        users = np.searchsorted(self._sessions_until, generator.random(num_sessions))
        contents = self._contents(users[session], generator)
        action = np.searchsorted(np.cumsum(ACTION_SHARES)[:-1], generator.random(count))
        played_ms = self._played_ms(contents, action, generator)
        # A session is over before midnight: its events follow one another by what was played.
        gap_us = (played_ms + generator.integers(500, 8_000, count)) * 1_000 + generator.integers(0, 1_000, count)
        until_us = np.cumsum(gap_us)
        first = np.cumsum(lengths) - lengths
        since_us = until_us - np.repeat(until_us[first], lengths)
        span_us = since_us[first + lengths - 1]
        start_us = generator.random(num_sessions) * np.maximum(DAY_US - span_us, 1)
        time_us = np.minimum(start_us.astype(np.int64)[session] + since_us, DAY_US - 1)
        order = np.argsort(time_us, kind="stable")
        named = action != SEARCH
        in_order = session[order]
        contexts = np.searchsorted(np.cumsum(CONTEXT_SHARES)[:-1], generator.random(num_sessions))
        devices = np.searchsorted(np.cumsum(DEVICE_SHARES)[:-1], generator.random(num_sessions))
        return pa.table(
            {
                "user_id": self.user_ids.take(pa.array(users[in_order])),
                "content_id": self.content_ids.take(pa.array(contents[order], mask=~named[order])),
                "timestamp": pa.array(time_us[order] + _midnight_us(day)).cast(pa.timestamp("us", tz="UTC")),
                "action": ACTIONS.take(pa.array(action[order])),
                "played_ms": pa.array(played_ms[order].astype(np.int32), mask=(action > SKIP)[order]),
                "context": CONTEXTS.take(pa.array(contexts[in_order])),
                "session_id": _numbered(f"{day:03d}-", np.arange(num_sessions)).take(pa.array(in_order)),
                "device": DEVICES.take(pa.array(devices[in_order])),
            }
        )

    def _contents(self, users: Integer[np.ndarray, " events"], generator: np.random.Generator) -> np.ndarray:
        """`[events]`, int64: a favourite of the listener's own, or what popularity gives."""
        drawn = generator.random(len(users))
        is_own = np.flatnonzero(generator.random(len(users)) < FAVOURITE_SHARE)
        slot = (FAVOURITES * generator.random(len(is_own)) ** 2).astype(np.uint64)
        drawn[is_own] = _hashed(
            (users[is_own].astype(np.uint64) * np.uint64(FAVOURITES) + slot) * np.uint64(2 * self.seed + 1)
        )
        return ranks(drawn, self.size.contents)

    def _played_ms(self, contents: np.ndarray, action: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        share = generator.random(len(contents))
        plays = self._duration_ms[contents] * (0.4 + 0.6 * np.sqrt(share))
        skips = np.minimum(self._duration_ms[contents], 30_000) * share
        return np.where(action == PLAY, plays, np.where(action == SKIP, skips, 0)).astype(np.int64)

    def _untidy(self, day: int, own: pa.Table, kept: dict[int, list[pa.Table]]) -> pa.Table:
        """The file of a day with what came late from days before, what is in it twice, and what is faulty; keeps for
        later files what comes late of this day."""
        generator = np.random.default_rng((self.seed, 5, day))
        drawn = generator.random(len(own))
        is_last = day == self.size.days - 1
        is_late = drawn < (0 if is_last else LATE_SHARE)
        is_twice = (drawn >= LATE_SHARE) & (drawn < LATE_SHARE + DUPLICATE_SHARE)
        late, twice = own.filter(pa.array(is_late)), own.filter(pa.array(is_twice))
        behind = np.minimum(generator.integers(1, LATEST_DAYS + 1, len(late)), self.size.days - 1 - day)
        for lag in np.unique(behind):
            kept.setdefault(day + int(lag), []).append(late.filter(pa.array(behind == lag)))
        half = len(twice) // 2
        if not is_last:
            kept.setdefault(day + 1, []).append(twice.slice(half))
        faulty = _with_faults(own.slice(0, generator.poisson(FAULTY_SHARE * len(own))), day)
        return pa.concat_tables([own.filter(pa.array(~is_late)), *kept.pop(day, []), twice.slice(0, half), faulty])


def ranks(uniform: Float[np.ndarray, " draws"], contents: int) -> Int[np.ndarray, " draws"]:
    """Ranks from 0, drawn by the law of Zipf and Mandelbrot from numbers in [0, 1): its distribution function,
    integrated instead of summed, the other way round."""
    power = 1 - ZIPF_EXPONENT
    low, high = ZIPF_SHIFT**power, (contents + ZIPF_SHIFT) ** power
    found = (low + uniform * (high - low)) ** (1 / power) - ZIPF_SHIFT
    return np.minimum(found.astype(np.int64), contents - 1)


def measure(
    users: Integer[np.ndarray, " events"],
    contents: Integer[np.ndarray, " events"],
    sessions: Integer[np.ndarray, " events"],
) -> dict[str, float]:
    """Figures that the world imitates: how popularity, activity and sessions are spread, and the share of repeats, 0
    to 1."""
    counts = np.sort(np.bincount(contents))[::-1]
    pairs, own_sessions = (users * (each.max() + 1) + each for each in (contents, sessions))
    log_activity, log_session = (np.log(np.unique(each, return_counts=True)[1]) for each in (users, own_sessions))
    exponent, shift = fitted(counts[counts > 0])
    return {
        "zipf_exponent": exponent,
        "zipf_shift": shift,
        "share_of_the_first": float(counts[0] / len(contents)),
        "activity_log_sd": float(log_activity.std()),
        "session_log_mean": float(log_session.mean()),
        "session_log_sd": float(log_session.std()),
        "share_of_repeats": 1 - len(np.unique(pairs)) / len(contents),
    }


def fitted(counts: Integer[np.ndarray, " contents"]) -> tuple[float, float]:
    """Exponent and shift of the law of Zipf and Mandelbrot, to a tenth and half a power of ten.

    Of so many draws it is expected to give as many contents, and as many drawn once, as there are, and as many draws of
    the first 100, 1,000 and 10,000; the largest ratio of the five to what there is is the least. How many contents were
    never drawn is tried, too.

    Args:
        counts: draws of each content that was drawn, falling.
    """
    draws, firsts = int(counts.sum()), (100, 1_000, 10_000)
    found = np.array([len(counts), (counts == 1).sum() + 1, *(counts[:first].sum() for first in firsts)])
    errors = {}
    for total in (len(counts), 2 * len(counts), 5 * len(counts)):
        for exponent, shift in itertools.product(np.arange(4, 16) / 10, (0, 3, 10, 30, 100, 300, 1_000)):
            expected = draws * _shares(total, exponent, shift)
            missed = np.exp(-expected)
            sums = [(1 - missed).sum(), (expected * missed).sum() + 1, *(expected[:first].sum() for first in firsts)]
            errors[total, exponent, shift] = np.abs(np.log(sums / found)).max()
    _, exponent, shift = min(errors, key=errors.__getitem__)
    return float(exponent), float(shift)


def _shares(contents: int, exponent: float, shift: float) -> Float[np.ndarray, " contents"]:
    """Returns the share of all draws that falls to each rank."""
    weight = (np.arange(1, contents + 1) + shift) ** -exponent
    return weight / weight.sum()


def _with_faults(rows: pa.Table, first: int) -> pa.Table:
    """The rows, a fault in each, from the `first` on in turn: no listener, no time, an unknown action, a time played
    below 0."""
    fault = (first + np.arange(len(rows))) % 4
    spoilt = {
        "user_id": pa.array(np.where(fault == 0, None, rows["user_id"].to_numpy(zero_copy_only=False)), pa.string()),
        "timestamp": pa.array(rows["timestamp"].cast("int64").to_numpy(), mask=fault == 1).cast(
            rows.schema.field("timestamp").type
        ),
        "action": pa.array(np.where(fault == 2, "hum", rows["action"].to_numpy(zero_copy_only=False)), pa.string()),
        "played_ms": pa.array(np.where(fault == 3, -1, 1_000), pa.int32()),
    }
    return pa.table({name: spoilt.get(name, rows[name]) for name in rows.column_names}, schema=rows.schema)


def _ids(prefix: str, count: int, num_digits: int) -> pa.Array:
    """Ids whose order says nothing: their first eight digits are another number below 2 ** 32 for each."""
    numbers = np.arange(count, dtype=np.uint64) * np.uint64(2_654_435_761) % np.uint64(2**32)
    words = [numbers, _mixed(numbers), _mixed(~numbers)]
    digits = np.concatenate([word.astype(">u8").view(np.uint8).reshape(count, 8) for word in words], axis=1)[:, 4:]
    signs = np.stack([digits >> 4, digits & 15], axis=2).reshape(count, -1)[:, :num_digits]
    signs = np.frombuffer(b"0123456789abcdef", np.uint8)[signs]
    signs = np.concatenate([np.full((count, 1), ord(prefix), np.uint8), signs], axis=1)
    offsets = np.arange(count + 1, dtype=np.int32) * (1 + num_digits)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(signs.tobytes()))


def _numbered(prefix: str, numbers: Integer[np.ndarray, " rows"]) -> pa.Array:
    texts = pa.array(numbers).cast(pa.string())
    return pc.call_function("binary_join_element_wise", [pa.scalar(prefix), texts, pa.scalar("")])


def _hashed(keys: Integer[np.ndarray, " keys"]) -> Float[np.ndarray, " keys"]:
    """Returns pseudo-random numbers in [0, 1), the same for the same key."""
    return (_mixed(keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(keys: Integer[np.ndarray, " keys"]) -> Integer[np.ndarray, " keys"]:
    """Hashes keys to distinct unsigned integers of 64 bits by SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = keys * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _midnight_us(day: int) -> int:
    midnight = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) + timedelta(days=day)
    return int(midnight.timestamp()) * 1_000_000


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", row_group_size=250_000)


def main() -> None:
    """Writes a world, or takes a real set, and prints its measures."""
    parser = command_line(__doc__)
    parser.add_argument("--root", type=Path, help="folder to write the world into, and to keep it")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--untidy", action="store_true", help="late events, repeated rows and faulty ones, too")
    parser.add_argument("--id-digits", type=int, default=8, help="of listeners' and contents' ids")
    names = "a set, and its columns of listeners, contents and sessions, where it has any"
    parser.add_argument("--measure", nargs="+", metavar="NAME", help=names)
    add_smallest(parser, events=2_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.measure is None:
            arguments.root = arguments.root or Path(folder)
            world = World(
                size=Size.of(arguments.events),
                seed=arguments.seed,
                is_untidy=arguments.untidy,
                id_digits=arguments.id_digits,
            )
            world.write(arguments.root)
        file, *columns = arguments.measure or (arguments.root / "events", "user_id", "content_id", "session_id")
        table = pq.read_table(file, columns=columns).drop_null()
    users, contents, sessions = (
        table[name].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        for name in [*columns, columns[0]][:3]
    )
    print(json.dumps(measure(users, contents, sessions), indent=1))


if __name__ == "__main__":
    main()
