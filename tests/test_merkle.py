from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard import merkle
from collapse_guard.merkle import Tree, includes, inclusion_path, leaf_hashes, root_of

LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "60" * 16)]
LEAVES[7] = bytes(range(0x60, 0x70))
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Roots over the first 0 to 8 of these leaves, as every log of Certificate Transparency has them."""


def slow_root(leaves):
    """The definition of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\1" + slow_root(leaves[:half]) + slow_root(leaves[half:])).digest()


def numbered(count):
    return [b"leaf %d" % number for number in range(count)]


@pytest.mark.parametrize("count", range(9))
def test_roots_are_those_of_certificate_transparency(count):
    assert root_of(leaf_hashes(LEAVES[:count])).hex() == ROOTS[count]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_root_is_that_of_the_definition(leaves):
    assert root_of(leaf_hashes(leaves)) == slow_root(leaves)


@pytest.mark.parametrize("chunk", [1, 2, 4, 16])
def test_a_tree_that_grows_in_pieces_gives_the_same_root_and_the_same_paths(monkeypatch, chunk):
    monkeypatch.setattr(merkle, "CHUNK", chunk)
    for count in range(1, 40):
        leaves, tree = numbered(count), Tree()
        for index in range(count):
            tree.want(index)
        for start in range(0, count, 7):
            tree.extend(leaves[start : start + 7])
        hashes = leaf_hashes(leaves)
        assert (tree.size, tree.root()) == (count, slow_root(leaves))
        assert [tree.path(index) for index in range(count)] == [inclusion_path(hashes, n) for n in range(count)]


def test_an_empty_tree_has_the_root_of_nothing():
    assert (Tree().size, Tree().root().hex()) == (0, ROOTS[0])


def test_every_leaf_of_every_small_tree_is_proven_and_nothing_else():
    for count in range(1, 34):
        leaves = numbered(count)
        hashes, root = leaf_hashes(leaves), slow_root(leaves)
        for index, leaf in enumerate(leaves):
            path = inclusion_path(hashes, index)
            assert includes(leaf, index, count, path, root)
            assert not includes(b"other", index, count, path, root)
            assert not includes(leaf, index, count, path, sha256(root).digest())
            assert not includes(leaf, index, count, [*path, root], root)
            assert not includes(leaf, count, count, path, root)
            assert not any(includes(leaf, other, count, path, root) for other in range(count) if other != index)
            if path:
                assert not includes(leaf, index, count, path[1:], root)


def test_a_node_cannot_be_passed_off_as_a_leaf():
    leaves = numbered(4)
    hashes = leaf_hashes(leaves)

    assert not includes(hashes[0] + hashes[1], 0, 2, [root_of(hashes[2:])], slow_root(leaves))
