"""The contents of the demo world: artists, albums, tracks and episodes, and their places in the space of tastes.

The coordinates of a place are, in this order: the seven audible traits, the inaudible ones (partly the artist's, partly
the content's own, so that ids carry information beyond the sound), and music or speech.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.synthesis import LANGUAGES, TRAITS
from towers.simulation.titles import Titles

NUM_UNHEARD: Final = 3
NUM_DIMS: Final = len(TRAITS) + NUM_UNHEARD + 1

# Distance between music and speech: a listener in the mood for music rarely wants speech.
SPEECH_COORDINATE: Final = 3.0

TRACKS_AN_ARTIST: Final = 6
EPISODES_A_SHOW: Final = 5

# Each style's centre, in the order of TRAITS.
MUSIC_STYLES: Final = {
    "ambient": (-1.4, 0.2, -0.6, -1.2, 0.6, -0.4, -0.9),
    "chamber": (-0.5, 0.3, -0.2, 0.0, 1.3, 0.6, -1.3),
    "folk": (0.1, 0.8, 0.2, 0.3, 0.2, 0.3, -0.6),
    "lullaby": (-1.0, 1.2, -1.2, -0.5, -0.3, 1.2, -1.2),
    "dub": (-0.7, -0.6, -1.0, -0.3, -0.7, -1.4, 0.6),
    "techno": (1.1, -0.7, 0.3, 0.9, -1.3, -0.8, 1.2),
    "chiptune": (1.2, 1.0, 1.5, 1.0, -1.0, 1.2, 0.0),
    "jazz": (0.4, -0.1, 0.0, 1.1, 0.9, 0.1, 0.4),
    "metal": (1.4, -1.3, 1.2, 1.3, -0.5, -0.9, 1.4),
    "synthwave": (0.5, -0.2, 1.1, 0.1, -0.6, -0.2, 0.3),
}
SPEECH_STYLES: Final = {
    "news": (0.9, -0.4, 0.6, 0.9, -1.0, 0.3, -0.7),
    "stories": (-0.5, 0.9, 0.0, -0.1, 1.1, -0.2, -0.3),
    "interviews": (0.3, 0.4, 0.2, 0.3, 0.4, 0.5, 0.2),
    "meditation": (-1.4, -0.8, -1.1, -1.2, -0.7, -0.6, 1.1),
}

# Standard deviations in units of a trait: of an artist around the style, an album around the artist, and so on.
_ARTIST_SPREAD: Final = 0.45
_ALBUM_SPREAD: Final = 0.2
_PIECE_SPREAD: Final = 0.35
_UNHEARD_ARTIST_SPREAD: Final = 0.8
_UNHEARD_PIECE_SPREAD: Final = 0.6

# Standard deviations of the logarithm of popularity.
_ARTIST_POPULARITY_SPREAD: Final = 0.6
_PIECE_POPULARITY_SPREAD: Final = 0.6

# Standard deviation of an annotator's error in the traits.
_GENRE_NOISE: Final = 0.4
_SECOND_GENRE_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Artist:
    """An artist or, for speech, a show.

    Args:
        artist_id: opaque id.
        name: readable name.
        is_speech: whether it is a show with episodes rather than an artist with tracks.
        traits: `[traits]`, centre of the artist's style.
        unheard: `[NUM_UNHEARD]`, the artist's part of the inaudible traits.
        language: language of a show; None for music.
        log_popularity: the artist's part of the logarithm of a content's popularity.
    """

    artist_id: str
    name: str
    is_speech: bool
    traits: np.ndarray
    unheard: np.ndarray
    language: str | None
    log_popularity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A track or an episode.

    Args:
        content_id: opaque id.
        title: readable title.
        artist_row: row in `Repertoire.artists`.
        album_row: row in `Repertoire.album_ids`; -1 for an episode.
        genres: one or two names of styles, or None where unknown.
        release_day: days after the start of the period; negative before it.
        duration_ms: length of the whole content, of which the audio is an excerpt.
        is_explicit: label without any relation to taste.
    """

    content_id: str
    title: str
    artist_row: int
    album_row: int
    genres: list[str] | None
    release_day: int
    duration_ms: int
    is_explicit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Repertoire:
    """All artists and contents; the arrays are in the order of `pieces`.

    Args:
        artists: artists of music, then shows.
        pieces: tracks, then episodes.
        album_ids: opaque ids of albums.
        places: `[contents, NUM_DIMS]`, see the module's docstring.
        log_popularity: `[contents]`, natural logarithm, mean about 0.
        is_speech: `[contents]`, whether it is an episode.
        artist_rows: `[contents]`, row in `artists`.
        album_rows: `[contents]`, row in `album_ids`; -1 for none.
        release_days: `[contents]`, days after the start of the period.
        durations_ms: `[contents]`, length in milliseconds.
        language_codes: `[contents]`, index into `LANGUAGES`, -1 for music.
    """

    artists: list[Artist]
    pieces: list[Piece]
    album_ids: list[str]
    places: Float[np.ndarray, "contents dims"]
    log_popularity: Float[np.ndarray, " contents"]
    is_speech: Bool[np.ndarray, " contents"]
    artist_rows: Int[np.ndarray, " contents"]
    album_rows: Int[np.ndarray, " contents"]
    release_days: Int[np.ndarray, " contents"]
    durations_ms: Int[np.ndarray, " contents"]
    language_codes: Int[np.ndarray, " contents"]

    @property
    def traits(self) -> Float[np.ndarray, "contents traits"]:
        """Audible traits of every content."""
        return self.places[:, : len(TRAITS)]

    @property
    def content_ids(self) -> list[str]:
        """Ids in the order of the arrays."""
        return [piece.content_id for piece in self.pieces]


def opaque_id(prefix: str, seed: int, number: int) -> str:
    """Returns an id without meaning: `prefix` and eight hex digits."""
    digest = hashlib.blake2b(f"{prefix}/{seed}/{number}".encode(), digest_size=4)
    return prefix + digest.hexdigest()


class RepertoireBuilder:
    """Draws artists, then their albums and contents.

    Args:
        seed: seed of all random draws and of the ids.
        num_days: length of the period, in days.
        new_release_share: share of the contents released during the period, in `[0, 1]`.
        genre_missing_share: share of the contents without genres, in `[0, 1]`.
    """

    def __init__(self, *, seed: int, num_days: int, new_release_share: float, genre_missing_share: float):
        self._seed = seed
        self._num_days = num_days
        self._new_release_share = new_release_share
        self._genre_missing_share = genre_missing_share
        self._rng = np.random.default_rng([seed, 0])
        self._titles = Titles(np.random.default_rng([seed, 1]))
        self._artists: list[Artist] = []
        self._pieces: list[Piece] = []
        self._places: list[np.ndarray] = []
        self._num_albums = 0

    def build(self, num_tracks: int, num_episodes: int) -> Repertoire:
        """Draws a repertoire of exactly these sizes."""
        self._add_music(num_tracks)
        self._add_speech(num_episodes)
        artist_rows = np.array([piece.artist_row for piece in self._pieces])
        artists_popularity = np.array([artist.log_popularity for artist in self._artists])
        own_popularity = self._rng.normal(0.0, _PIECE_POPULARITY_SPREAD, len(self._pieces))
        languages = [self._artists[row].language for row in artist_rows]
        return Repertoire(
            artists=self._artists,
            pieces=self._pieces,
            album_ids=[opaque_id("b", self._seed, row) for row in range(self._num_albums)],
            places=np.stack(self._places),
            log_popularity=artists_popularity[artist_rows] + own_popularity,
            is_speech=np.array([language is not None for language in languages]),
            artist_rows=artist_rows,
            album_rows=np.array([piece.album_row for piece in self._pieces]),
            release_days=np.array([piece.release_day for piece in self._pieces]),
            durations_ms=np.array([piece.duration_ms for piece in self._pieces]),
            language_codes=np.array([LANGUAGES.index(name) if name else -1 for name in languages]),
        )

    def _add_music(self, num_tracks: int) -> None:
        num_artists = max(1, round(num_tracks / TRACKS_AN_ARTIST))
        sizes = self._split(num_tracks, num_artists)
        albums = [
            (row, size)
            for row, artist_size in enumerate(sizes)
            for size in self._split(artist_size, int(np.ceil(artist_size / 4)))
        ]
        for row in range(num_artists):
            self._add_artist(list(MUSIC_STYLES.values())[row % len(MUSIC_STYLES)], is_speech=False)
        for (artist_row, size), release_day in zip(albums, self._release_days(len(albums)), strict=True):
            shift = self._rng.normal(0.0, _ALBUM_SPREAD, len(TRAITS))
            for _ in range(size):
                place = self._draw_place(artist_row, shift)
                title = self._titles.track(place[: len(TRAITS)])
                seconds = float(np.clip(self._rng.lognormal(np.log(205.0), 0.25), 90.0, 480.0))
                self._add_piece(place, title, artist_row, self._num_albums, int(release_day), seconds)
            self._num_albums += 1

    def _add_speech(self, num_episodes: int) -> None:
        if not num_episodes:
            return
        num_shows = max(1, round(num_episodes / EPISODES_A_SHOW))
        first = len(self._artists)
        for row in range(num_shows):
            self._add_artist(list(SPEECH_STYLES.values())[row % len(SPEECH_STYLES)], is_speech=True)
        sizes = self._split(num_episodes, num_shows)
        days = iter(self._release_days(num_episodes))
        for show, size in enumerate(sizes):
            for _ in range(size):
                place = self._draw_place(first + show, np.zeros(len(TRAITS)))
                seconds = float(np.clip(self._rng.lognormal(np.log(1200.0), 0.4), 300.0, 3600.0))
                self._add_piece(place, self._titles.episode(), first + show, -1, int(next(days)), seconds)

    def _split(self, total: int, parts: int) -> list[int]:
        """Returns `total` split into `parts` uneven parts of at least one each (where `total` allows)."""
        spare = self._rng.multinomial(total - parts, self._rng.dirichlet(np.full(parts, 3.0)))
        return (1 + spare).tolist()

    def _release_days(self, count: int) -> Int[np.ndarray, " count"]:
        """Draws release days; new releases come after the first quarter, which needs contents to listen to."""
        past = -1 - self._rng.exponential(700.0, count).astype(np.int64)
        new = self._rng.integers(self._num_days // 4, self._num_days - 1, count)
        is_new = self._rng.permutation(count) < round(self._new_release_share * count)
        return np.where(is_new, new, np.maximum(past, -7000))

    def _add_artist(self, style: tuple[float, ...], *, is_speech: bool) -> None:
        self._artists.append(
            Artist(
                artist_id=opaque_id("a", self._seed, len(self._artists)),
                name=self._titles.show() if is_speech else self._titles.artist(),
                is_speech=is_speech,
                traits=np.array(style) + self._rng.normal(0.0, _ARTIST_SPREAD, len(TRAITS)),
                unheard=self._rng.normal(0.0, _UNHEARD_ARTIST_SPREAD, NUM_UNHEARD),
                language=LANGUAGES[int(self._rng.integers(len(LANGUAGES)))] if is_speech else None,
                log_popularity=float(self._rng.normal(0.0, _ARTIST_POPULARITY_SPREAD)),
            )
        )

    def _draw_place(self, artist_row: int, shift: Float[np.ndarray, " traits"]) -> Float[np.ndarray, " dims"]:
        artist = self._artists[artist_row]
        traits = artist.traits + shift + self._rng.normal(0.0, _PIECE_SPREAD, len(TRAITS))
        unheard = artist.unheard + self._rng.normal(0.0, _UNHEARD_PIECE_SPREAD, NUM_UNHEARD)
        return np.concatenate([traits, unheard, [SPEECH_COORDINATE if artist.is_speech else 0.0]])

    def _add_piece(
        self,
        place: Float[np.ndarray, " dims"],
        title: str,
        artist_row: int,
        album_row: int,
        release_day: int,
        duration_s: float,
    ) -> None:
        is_speech = self._artists[artist_row].is_speech
        piece = Piece(
            content_id=opaque_id("c", self._seed, len(self._pieces)),
            title=title,
            artist_row=artist_row,
            album_row=album_row,
            genres=self._draw_genres(place[: len(TRAITS)], SPEECH_STYLES if is_speech else MUSIC_STYLES),
            release_day=release_day,
            duration_ms=round(1000 * duration_s),
            is_explicit=bool(self._rng.random() < 0.06),
        )
        self._pieces.append(piece)
        self._places.append(place)

    def _draw_genres(
        self, traits: Float[np.ndarray, " traits"], styles: dict[str, tuple[float, ...]]
    ) -> list[str] | None:
        """Returns the one or two styles nearest to the traits as an annotator hears them; None where missing."""
        heard = traits + self._rng.normal(0.0, _GENRE_NOISE, len(TRAITS))
        distances = ((np.array(list(styles.values())) - heard) ** 2).sum(axis=1)
        nearest = [list(styles)[row] for row in np.argsort(distances, kind="stable")]
        count = 1 + int(self._rng.random() < _SECOND_GENRE_SHARE)
        return None if self._rng.random() < self._genre_missing_share else nearest[:count]
