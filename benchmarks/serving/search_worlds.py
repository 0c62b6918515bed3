"""Vectors of contents and queries, made up, for benchmarks of search.

`nonlinear`: contents are points of 28 dimensions through a random layer of tanh, and noise;
no clusters, which would flatter an inverted file. Asked are new contents, and listeners (weighted means of ten contents
of a neighbourhood). `clustered`: 2,000 Gaussian clusters in all dimensions, which 64 directions cannot hold.
"""

from collections.abc import Iterator

import numpy as np

INTRINSIC, HIDDEN, CLUSTERS = 28, 256, 2_000


def sizes_of(contents: int) -> list[int]:
    return [min(100_000, contents - start) for start in range(0, contents, 100_000)]


def nonlinear(contents: int, queries: int, dim: int) -> tuple[Iterator[np.ndarray], dict[str, np.ndarray]]:
    layers = np.random.default_rng(0)
    first = layers.standard_normal((INTRINSIC, HIDDEN), np.float32) * np.float32(1.5 / np.sqrt(INTRINSIC))
    second = layers.standard_normal((HIDDEN, dim), np.float32)

    def mapped(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        noise = generator.standard_normal((len(points), dim), np.float32)
        return unit(np.tanh(points @ first) @ second + np.float32(0.8) * noise)

    def blocks() -> Iterator[np.ndarray]:
        generator = np.random.default_rng(1)
        for size in sizes_of(contents):
            yield mapped(generator.standard_normal((size, INTRINSIC), np.float32), generator)

    generator = np.random.default_rng(2)
    new = mapped(generator.standard_normal((queries, INTRINSIC), np.float32), generator)
    tastes = 0.8 * generator.standard_normal((queries, 1, INTRINSIC), np.float32)
    heard = tastes + 0.6 * generator.standard_normal((queries, 10, INTRINSIC), np.float32)
    heard = mapped(heard.reshape(-1, INTRINSIC).astype(np.float32), generator).reshape(queries, 10, dim)
    listeners = unit((generator.random((queries, 10, 1), np.float32) * heard).sum(1))
    return blocks(), {"listeners": listeners, "new contents": new}


def clustered(contents: int, queries: int, dim: int) -> tuple[Iterator[np.ndarray], dict[str, np.ndarray]]:
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, dim), np.float32)

    def drawn(size: int, generator: np.random.Generator) -> np.ndarray:
        noise = generator.standard_normal((size, dim), np.float32)
        return unit(centres[generator.integers(CLUSTERS, size=size)] + np.float32(0.7) * noise)

    generator = np.random.default_rng(1)
    asked = {"new contents": drawn(queries, np.random.default_rng(2))}
    return (drawn(size, generator) for size in sizes_of(contents)), asked


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
