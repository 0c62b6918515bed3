"""A folder as a data warehouse gives it, made with pandas: thirty days of plays of a small service."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

GENRES = ("folk", "techno", "jazz", "metal", "ambient", "soul")
SAMPLE_RATE = 16_000


def write_warehouse(
    folder: Path,
    num_listeners: int = 400,
    num_contents: int = 340,
    num_sounds: int = 60,
    num_days: int = 30,
    seed: int = 0,
) -> Path:
    """Writes events/, contents/, users/ and audio/ in the raw data contract.

    Every listener likes two genres most and comes back to some pieces; contents have a popularity of their own, and a
    quarter of them come out in the thirty days. A sound has the pitch of its genre.
    """
    random = np.random.default_rng(seed)
    genre_of = random.integers(0, len(GENRES), num_contents)
    popularity = random.pareto(1.2, num_contents) + 0.2
    released = np.where(random.random(num_contents) < 0.25, random.uniform(0, num_days, num_contents), -400.0)
    contents = pd.DataFrame(
        {
            "content_id": [f"t{number:04d}" for number in range(num_contents)],
            "kind": "track",
            "title": [f"Piece {number}" for number in range(num_contents)],
            "artist_ids": [[f"a{genre}{number % 7}"] for number, genre in enumerate(genre_of)],
            "genres": [[GENRES[genre]] for genre in genre_of],
            "duration_ms": random.integers(120_000, 300_000, num_contents).astype("int32"),
            "release_date": (pd.Timestamp("2026-09-01") + pd.to_timedelta(released, unit="D")).date,
            "audio": [f"audio/t{number:04d}.wav" if number < num_sounds else None for number in range(num_contents)],
        }
    )
    rows = []
    for listener in range(num_listeners):
        taste = np.full(len(GENRES), 0.3)
        taste[random.choice(len(GENRES), 2, replace=False)] = [8.0, 3.0]
        weights = popularity * taste[genre_of] * random.gamma(1.0, 1.0, num_contents)
        heard: list[int] = []
        for day in np.sort(random.uniform(0, num_days, random.poisson(60))):
            is_back = heard and random.random() < 0.4
            chances = weights * (released <= day)
            content = (
                int(random.choice(heard)) if is_back else int(random.choice(num_contents, p=chances / chances.sum()))
            )
            is_liked = random.random() < taste[genre_of[content]] / 4
            share = random.uniform(0.7, 1.0) if is_liked or is_back else random.uniform(0.02, 0.9)
            rows.append((f"u{listener:04d}", content, day, share))
            heard.append(content)
    events = pd.DataFrame(rows, columns=["user_id", "content", "day", "share"])
    events["content_id"] = contents["content_id"].to_numpy()[events["content"]]
    events["timestamp"] = pd.Timestamp("2026-09-01", tz="UTC") + pd.to_timedelta(events["day"], unit="D").dt.round("s")
    events["played_ms"] = (contents["duration_ms"].to_numpy()[events["content"]] * events["share"]).astype("int64")
    events["action"] = np.where(events["share"] < 0.1, "skip", "play")
    users = pd.DataFrame({"user_id": [f"u{listener:04d}" for listener in range(num_listeners)], "country": "is"})
    columns = ["user_id", "content_id", "timestamp", "action", "played_ms"]
    for name, table in (("events", events[columns]), ("contents", contents), ("users", users)):
        (folder / name).mkdir(parents=True)
        table.to_parquet(folder / name / "export.parquet", index=False)
    (folder / "audio").mkdir()
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    for number in range(num_sounds):
        pitch = 110 * 1.5 ** genre_of[number] * random.uniform(0.97, 1.03)
        wave = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.02 * random.standard_normal(len(time))
        soundfile.write(folder / "audio" / f"t{number:04d}.wav", wave, SAMPLE_RATE)
    return folder
