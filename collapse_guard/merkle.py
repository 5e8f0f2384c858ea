"""Merkle trees over documents: one digest for all of them, and a short proof that a document is among them.

Source: RFC 6962, section 2.1 (leaves are hashed behind a zero byte, nodes behind a one byte); RFC 9162, section 2.1.3.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAF, NODE = b"\x00", b"\x01"
CHUNK = 2**16
"""Leaves whose hashes are in memory at a time; a power of two, so that each full chunk is a node of the tree."""


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """Hash leaves."""
    return [sha256(LEAF + leaf).digest() for leaf in leaves]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves; of none it is the hash of nothing."""
    if not hashes:
        return sha256().digest()
    level = list(hashes)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    """Pair neighbours; the last of an odd number goes up as it is, as the tree of the RFC has it."""
    pairs = iter(level)
    above = [sha256(NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    return above if len(level) % 2 == 0 else [*above, level[-1]]


def inclusion_path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The sibling hashes from a leaf up to the root.

    Args:
        hashes: The hashes of all leaves.
        index: Which leaf, from 0.

    Returns:
        At most log2(len(hashes)), rounded up.
    """
    path, level = [], list(hashes)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level, index = _next_level(level), index // 2
    return path


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say whether a path proves that a leaf stands at a place of a tree.

    Args:
        leaf: The leaf's bytes.
        index: Its place, from 0.
        size: How many leaves the tree has.
        path: What `inclusion_path` gave.
        root: The tree's root.

    Returns:
        Whether it does.
    """
    if not 0 <= index < size:
        return False
    (found,) = leaf_hashes([leaf])
    last, left = size - 1, list(path)
    while last:
        if index % 2 or index < last:
            if not left:
                return False
            sibling = left.pop(0)
            found = sha256(NODE + (sibling + found if index % 2 else found + sibling)).digest()
        index, last = index // 2, last // 2
    return not left and found == root


class Tree:
    """A tree that grows leaf by leaf and keeps one hash of every 65,536 leaves."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._open: list[bytes] = []
        self._wanted: dict[int, list[bytes]] = {}

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._chunks) * CHUNK + len(self._open)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves at the end."""
        self._open += leaf_hashes(leaves)
        while len(self._open) >= CHUNK:
            full, self._open = self._open[:CHUNK], self._open[CHUNK:]
            if len(self._chunks) in self._wanted:
                self._wanted[len(self._chunks)] = full
            self._chunks.append(root_of(full))

    def want(self, index: int) -> None:
        """Remember what a path for a leaf needs; asked before the leaf is added."""
        self._wanted.setdefault(index // CHUNK, [])

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return root_of(self._tops())

    def path(self, index: int) -> list[bytes]:
        """The inclusion path of a leaf that was wanted."""
        chunk, place = divmod(index, CHUNK)
        hashes = self._open if chunk == len(self._chunks) else self._wanted[chunk]
        return [*inclusion_path(hashes, place), *inclusion_path(self._tops(), chunk)]

    def _tops(self) -> list[bytes]:
        return [*self._chunks, root_of(self._open)] if self._open else self._chunks
