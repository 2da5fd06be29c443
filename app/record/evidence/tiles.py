"""Where the tree's hashes are kept: tiles of 256, as in C2SP tlog-tiles. Pure.

A tile of level 0 has the hashes of 256 leaves, one of level L + 1 the roots of 256 tiles of level
L. A tile only ever grows, so a tree of an earlier size is read from the same tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from app.record.evidence.merkle import HASH_SIZE, NodeReader, parent_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
PAIR = 2 * HASH_SIZE
TILE_SIZE = WIDTH * HASH_SIZE
"""Bytes of a tile that is complete."""

Place = tuple[int, int]
"""Level and index of a tile."""
Answer = TypeVar("Answer")


class Tiles:
    """Some of a log's tiles, by place."""

    def __init__(self, known: Mapping[Place, bytes]) -> None:
        self._known = dict(known)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree (see ``NodeReader``). Raises KeyError (no such tile)."""
        place, offset, count = _in_tile(level, index)
        hashes = self._known[place][offset * HASH_SIZE : (offset + count) * HASH_SIZE]
        if len(hashes) != count * HASH_SIZE:
            raise KeyError(place)
        return _root(hashes)

    def append(self, size: int, leaves: bytes) -> dict[Place, bytes]:
        """Add leaves, by their hashes one behind the other, to a tree of ``size`` whose ``edge`` is
        known; the tiles that have changed.
        """
        changed: dict[Place, bytes] = {}
        level, count, hashes = 0, size, leaves
        while hashes:
            first = count // WIDTH
            row = self._known.get((level, first), b"") + hashes
            tiles = [row[at : at + TILE_SIZE] for at in range(0, len(row), TILE_SIZE)]
            changed |= {(level, index): tile for index, tile in enumerate(tiles, start=first)}
            hashes = b"".join(_root(tile) for tile in tiles if len(tile) == TILE_SIZE)
            level, count = level + 1, first
        self._known |= changed
        return changed


def edge(size: int) -> list[Place]:
    """The tiles at the right edge of a tree: what its root, and leaves behind it, need."""
    places = []
    level = 0
    while size:
        places.append((level, (size - 1) // WIDTH))
        size //= WIDTH
        level += 1
    return places


def needed(question: Callable[[NodeReader], object]) -> set[Place]:
    """The tiles that a question to the tree reads."""
    places: set[Place] = set()

    def read(level: int, index: int) -> bytes:
        places.add(_in_tile(level, index)[0])
        return bytes(HASH_SIZE)

    question(read)
    return places


def _in_tile(level: int, index: int) -> tuple[Place, int, int]:
    """The tile that has a node's hashes, where they begin in it, and how many they are."""
    tile_level, height = divmod(level, HEIGHT)
    first = index << height
    return (tile_level, first // WIDTH), first % WIDTH, 1 << height


def _root(hashes: bytes) -> bytes:
    """The root over hashes that are a power of two, one after the other, a level at a time."""
    while len(hashes) > HASH_SIZE:
        hashes = b"".join(
            [parent_hash(hashes[at : at + PAIR]) for at in range(0, len(hashes), PAIR)]
        )
    return hashes
