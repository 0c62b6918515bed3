"""Invented names for the demo world: readable, unique within a world, a few beyond ASCII."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float

from towers.simulation.synthesis import TRAITS

# For each trait, words for a low value, then for a high one.
_ADJECTIVES: Final = {
    "pace": (("Drifting", "Slow", "Sleepy", "Patient"), ("Racing", "Swift", "Restless", "Breathless")),
    "mode": (("Shadowed", "Mournful", "Moonless", "Brooding"), ("Sunlit", "Merry", "Hopeful", "Dawning")),
    "brightness": (("Velvet", "Muffled", "Woollen", "Dim"), ("Glass", "Neon", "Silver", "Glittering")),
    "density": (("Hollow", "Sparse", "Lonely", "Bare"), ("Crowded", "Tangled", "Teeming", "Woven")),
    "dynamics": (("Level", "Steady", "Calm", "Unbroken"), ("Tidal", "Surging", "Swelling", "Stormy")),
    "register": (("Deep", "Low", "Buried", "Cavernous"), ("High", "Airy", "Weightless", "Feathered")),
    "grain": (("Clean", "Clear", "Polished", "Still"), ("Rusty", "Gritty", "Sandy", "Dusty")),
}
_NOUNS: Final = (
    "Harbour", "Meadow", "Lantern", "Engine", "Orchard", "River", "Cathedral", "Comet", "Garden", "Staircase",
    "Window", "Island", "Letter", "Mountain", "Carousel", "Winter", "Sparrow", "Signal", "Avenue", "Mirror",
    "Fjörður", "Café", "Città", "Señora", "Żaglowiec", "海", "Forest", "Balcony", "Compass", "Railway",
    "Horizon", "Telescope", "Candle", "Ferry", "Kingdom", "Archive", "Thunder", "Marble", "Fountain", "Dune",
)  # fmt: skip
_FIRST_NAMES: Final = (
    "Copper", "Paper", "Northern", "Sólveig", "Electric", "Little", "Çelik", "Velvet", "Łucja", "Midnight",
    "Wooden", "Ōkami", "Golden", "Atlas", "Søren", "Crystal", "Second", "Ivory", "Niños", "Marble",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Herons", "Quartet", "& the Lanterns", "Orchestra", "Brothers", "Machines", "Trio", "Parade", "Choir",
    "Foxes", "Ensemble", "Society", "Echoes", "Sisters", "Club", "Satellites", "Mill", "Assembly", "Birds",
)  # fmt: skip
_SHOWS: Final = (
    "The Quiet Hour", "Kitchen Table", "Field Notes", "After the Bell", "Straßenbahn", "Long Story", "Café Central",
    "Open Window", "Amanhã", "Small Wonders", "朝のラジオ", "Night Shift", "Second Opinion", "Half Past",
)  # fmt: skip
_TOPICS: Final = (
    "Bridges", "Salt", "Sleep", "Maps", "Bees", "Clocks", "Rain", "Bread", "Ghosts", "Ships", "Silence", "Chess",
    "Volcanoes", "Letters", "Elephants", "Paint", "Trains", "Memory", "Stars", "Markets", "Names", "Laughter",
)  # fmt: skip
_LISTENERS_TITLES: Final = (
    "For the drive", "Sunday morning", "Focus", "Running", "Late", "Kitchen", "Für Mama", "Rainy days", "Été",
    "On repeat", "Train home", "Keepers", "Party?", "Slow evenings",
)  # fmt: skip

_ATTEMPTS: Final = 20


class Titles:
    """Draws distinct names.

    Args:
        rng: generator of the draws.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._given: Counter[str] = Counter()

    def track(self, traits: Float[np.ndarray, " traits"]) -> str:
        """Draws a track's title: an adjective for its strongest trait, and a noun."""
        return self._draw(lambda: f"{self._adjectives(traits, 1)[0]} {self._word(_NOUNS)}")

    def episode(self) -> str:
        """Draws an episode's title: a topic."""
        return self._draw(lambda: f"On {self._word(_TOPICS)}")

    def artist(self) -> str:
        """Draws the name of a band."""
        return self._draw(lambda: f"{self._word(_FIRST_NAMES)} {self._word(_LAST_NAMES)}")

    def show(self) -> str:
        """Draws the name of a show."""
        return self._draw(lambda: self._word(_SHOWS))

    def theme(self, traits: Float[np.ndarray, " traits"]) -> str:
        """Draws an editors' playlist's title: adjectives for the two strongest traits."""
        return self._draw(lambda: " & ".join(self._adjectives(traits, 2)))

    def listeners_playlist(self) -> str:
        """Draws a listener's playlist's title; the only names that may repeat, as they do in reality."""
        return self._word(_LISTENERS_TITLES)

    def _adjectives(self, traits: Float[np.ndarray, " traits"], count: int) -> list[str]:
        telling = np.argsort(-np.abs(traits), kind="stable")[:count]
        return [self._word(_ADJECTIVES[TRAITS[trait]][int(traits[trait] > 0)]) for trait in telling]

    def _word(self, words: tuple[str, ...]) -> str:
        return words[int(self._rng.integers(len(words)))]

    def _draw(self, name: Callable[[], str]) -> str:
        """Draws a name that is not used yet; after too many attempts, a used one with a numeral."""
        drawn = name()
        for _ in range(_ATTEMPTS):
            if not self._given[drawn]:
                break
            drawn = name()
        self._given[drawn] += 1
        return drawn if self._given[drawn] == 1 else f"{drawn} {_roman(self._given[drawn])}"


def _roman(number: int) -> str:
    numeral = ""
    for value, sign in ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):
        count, number = divmod(number, value)
        numeral += sign * count
    return numeral
