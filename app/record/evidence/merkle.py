"""The Merkle tree of RFC 9162: roots and proofs from stored hashes, and their verification. Pure.

The functions that make proofs trust their hashes; those that verify trust nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

HASH_SIZE = 32
EMPTY_ROOT = sha256().digest()
"""RFC 9162, 2.1.1: the root of no leaves."""

NodeReader = Callable[[int, int], bytes]
"""Returns the root hash of a complete subtree by (level, index): of the ``2**level`` leaves from
``index * 2**level`` on. Level 0 is the leaf hashes."""


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 9162, 2.1.1."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162, 2.1.1."""
    return parent_hash(left + right)


def parent_hash(children: bytes) -> bytes:
    """``node_hash`` of two hashes that are concatenated."""
    return sha256(b"\x01" + children).digest()


def root_hash(size: int, node: NodeReader) -> bytes:
    """The root of the first ``size`` leaves."""
    return _range_root(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """RFC 9162, 2.1.3.1: that the leaf ``index`` is in the tree of ``size``. Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(first: int, second: int, node: NodeReader) -> list[bytes]:
    """RFC 9162, 2.1.4.1: that the tree of ``second`` begins with that of ``first``.

    Empty where they are the same. Raises ValueError unless 0 < first <= second.
    """
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} leaves is no beginning of one of {second}")
    path = []
    start, end = 0, second
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(start, middle, node))
            start = middle
    if start > 0:  # else it is the first tree itself, whose root the verifier has
        path.append(_range_root(start, end, node))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """RFC 9162, 2.1.3.2. ``leaf``: its hash."""
    if not 0 <= index < size or not _are_hashes(proof):
        return False
    place, last = index, size - 1
    found = leaf
    for other in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(other, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    *, first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """RFC 9162, 2.1.4.2. With an empty first tree, or two of one size, the proof must be empty."""
    if not 0 <= first <= second or not _are_hashes(proof):
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == EMPTY_ROOT
    is_complete = first & (first - 1) == 0  # then its root is a node of the second tree
    path = [first_root, *proof] if is_complete else list(proof)
    return len(path) > 0 and _leads_to_both(path, first, second, first_root, second_root)


def _leads_to_both(
    path: Sequence[bytes], first: int, second: int, first_root: bytes, second_root: bytes
) -> bool:
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, other)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """The greatest power of two below ``size``, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(start: int, end: int, node: NodeReader) -> bytes:
    """The root of the leaves from ``start`` up to ``end``. ``start`` is a multiple of the greatest
    power of two that is not above the length, as in all ranges that ``_split`` makes.
    """
    complete = []
    while start < end:
        level = (end - start).bit_length() - 1
        complete.append(node(level, start >> level))
        start += 1 << level
    found = complete.pop()
    while complete:
        found = node_hash(complete.pop(), found)
    return found


def _are_hashes(proof: Sequence[bytes]) -> bool:
    return all(len(each) == HASH_SIZE for each in proof)
