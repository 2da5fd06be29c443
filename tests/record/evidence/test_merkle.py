"""Roots and proofs against the definitions of RFC 9162, for every tree up to a size."""

from __future__ import annotations

import os
from functools import cache

import pytest

from app.record.evidence.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.record.evidence import reference

SIZES = 300 if os.environ.get("DLR_TEST_LONG") else 66
LEAVES = [f"leaf {number}".encode() for number in range(300)]
ROOTS = [reference.mth(LEAVES[:size]) for size in range(301)]


@cache
def node(level: int, index: int) -> bytes:
    if level == 0:
        return leaf_hash(LEAVES[index])
    return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))


def test_the_root_of_every_size() -> None:
    assert [root_hash(size, node) for size in range(301)] == ROOTS


@pytest.mark.parametrize("size", [*range(1, SIZES), 127, 128, 129, 255, 256, 257, 299, 300])
def test_inclusion(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(index, size, node)
        assert proof == reference.path(index, LEAVES[:size])
        leaf = leaf_hash(LEAVES[index])
        root = ROOTS[size]
        assert verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
        assert not verify_inclusion(
            leaf_hash(b"no"), index=index, size=size, proof=proof, root=root
        )
        assert not verify_inclusion(leaf, index=index, size=size, proof=proof, root=ROOTS[size - 1])
        assert not verify_inclusion(leaf, index=index, size=size, proof=[*proof, leaf], root=root)
        for place in range(len(proof)):
            wrong = [*proof[:place], leaf_hash(proof[place]), *proof[place + 1 :]]
            assert not verify_inclusion(leaf, index=index, size=size, proof=wrong, root=root)
            short = proof[:place] + proof[place + 1 :]
            assert not verify_inclusion(leaf, index=index, size=size, proof=short, root=root)


@pytest.mark.parametrize("second", [*range(1, SIZES), 128, 255, 256, 257, 300])
def test_consistency(second: int) -> None:
    for first in range(1, second + 1):
        proof = consistency_proof(first, second, node)
        assert proof == reference.proof(first, LEAVES[:second])

        def verified(proof: list[bytes], old: bytes, new: bytes, *, first: int = first) -> bool:
            return verify_consistency(
                first=first, second=second, first_root=old, second_root=new, proof=proof
            )

        old, new, other = ROOTS[first], ROOTS[second], leaf_hash(b"no")
        assert verified(proof, old, new)
        assert not verified(proof, other, new)
        assert not verified(proof, old, other)
        assert not verified([*proof, other], old, new)
        for place in range(len(proof)):
            wrong = [*proof[:place], leaf_hash(proof[place]), *proof[place + 1 :]]
            assert not verified(wrong, old, new)
            assert not verified(proof[:place] + proof[place + 1 :], old, new)


def test_the_empty_tree_begins_every_other() -> None:
    empty = ROOTS[0]
    assert verify_consistency(first=0, second=5, first_root=empty, second_root=ROOTS[5], proof=[])
    assert not verify_consistency(
        first=0, second=5, first_root=ROOTS[1], second_root=ROOTS[5], proof=[]
    )
    assert not verify_consistency(
        first=0, second=5, first_root=empty, second_root=ROOTS[5], proof=[empty]
    )


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(index, size, node)
    assert not verify_inclusion(ROOTS[1], index=index, size=size, proof=[], root=ROOTS[1])


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_a_tree_that_is_no_beginning(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="no beginning"):
        consistency_proof(first, second, node)


@pytest.mark.parametrize("first", [4, -1])
def test_a_larger_tree_begins_no_smaller_one(first: int) -> None:
    assert not verify_consistency(
        first=first, second=3, first_root=ROOTS[3], second_root=ROOTS[3], proof=[]
    )


def test_a_hash_of_another_length_is_no_proof() -> None:
    proof = inclusion_proof(0, 2, node)
    cut = [proof[0][:-1]]
    leaf = leaf_hash(LEAVES[0])
    root = node_hash(leaf, cut[0])
    assert not verify_inclusion(leaf, index=0, size=2, proof=cut, root=root)
