"""The tree's hashes in tiles of 256, as in C2SP tlog-tiles. Pure.

A tile of level 0 has the hashes of 256 leaves, one of level L + 1 the roots of 256 tiles of level
L. Tiles only grow, so the trees of all earlier sizes are read from the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.record.evidence.merkle import HASH_SIZE, NodeReader, parent_hash

HEIGHT = 8
"""Levels of the tree in one tile."""
WIDTH = 1 << HEIGHT
"""Hashes in a complete tile."""
PAIR = 2 * HASH_SIZE
"""Bytes of two hashes."""
TILE_SIZE = WIDTH * HASH_SIZE
"""Bytes of a complete tile."""

Place = tuple[int, int]
"""Level and index of a tile."""


class Tiles:
    """Some of a log's tiles, by place."""

    def __init__(self, known: Mapping[Place, bytes]) -> None:
        self._known = dict(known)

    def node(self, level: int, index: int) -> bytes:
        """The root hash of a complete subtree (a ``NodeReader``). Raises KeyError if the tile, or
        that much of it, is not known.
        """
        place, offset, count = _in_tile(level, index)
        hashes = self._known[place][offset * HASH_SIZE : (offset + count) * HASH_SIZE]
        if len(hashes) != count * HASH_SIZE:
            raise KeyError(place)
        return _root(hashes)

    def append(self, size: int, leaves: bytes) -> dict[Place, bytes]:
        """Append leaves to a tree of ``size`` whose ``edge`` is known. Returns the changed tiles.

        ``leaves``: their hashes, concatenated.
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
    """The tiles on the right edge of a tree: those that its root and further leaves need."""
    places = []
    level = 0
    while size:
        places.append((level, (size - 1) // WIDTH))
        size //= WIDTH
        level += 1
    return places


def needed(compute: Callable[[NodeReader], object]) -> set[Place]:
    """The tiles that a computation on the tree reads: it is run once on zero hashes."""
    places: set[Place] = set()

    def read(level: int, index: int) -> bytes:
        places.add(_in_tile(level, index)[0])
        return bytes(HASH_SIZE)

    compute(read)
    return places


def _in_tile(level: int, index: int) -> tuple[Place, int, int]:
    """The tile that a node is computed from, the index of its first hash there, and how many."""
    tile_level, height = divmod(level, HEIGHT)
    first = index << height
    return (tile_level, first // WIDTH), first % WIDTH, 1 << height


def _root(hashes: bytes) -> bytes:
    """The root over concatenated hashes, whose number is a power of two, level by level."""
    while len(hashes) > HASH_SIZE:
        hashes = b"".join(
            [parent_hash(hashes[at : at + PAIR]) for at in range(0, len(hashes), PAIR)]
        )
    return hashes
