"""Text to token ids, with the tokenizer of the model that a watermark key belongs to."""

from __future__ import annotations

from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.keys import Key

UNKNOWN_WORD = "<unk>"
OUTSIDE = -1
"""The id of what a tokenizer cannot encode: no vocabulary has it, so the whole text is `unsupported`."""
_WINDOW = 2**18
"""Characters encoded at once; the package holds some 130 bytes for each while it does."""
_OVERLAP = 2**13
_AGREEING = 16
"""Equal tokens in a row that make two encodings of one place the same from there on."""
_MAX_BYTES = 2**28


class Encoded(NamedTuple):
    """The tokens of many texts: those of text `i` are `ids[offsets[i]:offsets[i + 1]]`."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]


class Located(NamedTuple):
    """The tokens of one text, and the characters `starts[i]:ends[i]` that token `i` was made of."""

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def part(self, begin: int, end: int | None = None) -> Located:
        """The tokens from one index to another."""
        return Located(self.ids[begin:end], self.starts[begin:end], self.ends[begin:end])


class Tokenizer(Protocol):
    """What turns text into the ids that a model wrote; safe to share between threads."""

    digest: str
    vocab_size: int
    """One more than the highest id, added tokens included."""
    base_size: int
    """One more than the highest id without added tokens."""

    def encode(self, texts: pa.LargeStringArray) -> Encoded:
        """Encode texts without special tokens at their ends; a null has no tokens, a refused text is `OUTSIDE`."""

    def locate(self, text: str) -> Located:
        """Encode one text and say where its tokens stand; the ids are those of `encode`."""


class Vocabulary:
    """A plain vocabulary: words between white space, each with the number of its line, from 0."""

    def __init__(self, content: bytes) -> None:
        """Read the words, one per line.

        Args:
            content: The file's bytes, UTF-8. The line `<unk>` gives the id of every word that is not there.

        Raises:
            ValueError: The words cannot be read, one is there twice, or `<unk>` is missing.
        """
        words = content.decode().removesuffix("\n").replace("\r\n", "\n").split("\n")
        lines = {word: line for line, word in enumerate(words) if word}
        if UNKNOWN_WORD not in lines:
            raise ValueError(f"no line reads {UNKNOWN_WORD}, whose id unknown words get; add one")
        if len(lines) < sum(map(bool, words)):
            raise ValueError("a word stands on two lines; every word needs one id")
        self.digest = sha256_hex(content)
        self.vocab_size = self.base_size = len(words)
        self._words = pa.array(lines, pa.large_string())
        self._lines = np.fromiter(lines.values(), np.int64, len(lines))
        self._unknown = lines[UNKNOWN_WORD]

    def encode(self, texts: pa.LargeStringArray) -> Encoded:
        """Encode texts; a null has no tokens."""
        split = pc.utf8_split_whitespace(texts)
        words = split.flatten()
        real = _numpy(pc.not_equal(words, ""))  # blanks at the ends of a text give empty words
        before = np.concatenate([[0], np.cumsum(real)])
        lengths = _numpy(pc.list_value_length(split).fill_null(0))
        offsets = before[np.concatenate([[0], np.cumsum(lengths)])]
        return Encoded(self._ids(words.filter(pa.array(real))), offsets.astype(np.int64))

    def locate(self, text: str) -> Located:
        """Encode one text and say where its words stand."""
        ids = self.encode(pa.array([text], pa.large_string())).ids
        starts, ends = np.zeros(ids.size, np.int64), np.zeros(ids.size, np.int64)
        at = 0
        for index, word in enumerate(text.split()):
            starts[index] = at = text.index(word, at)
            ends[index] = at = at + len(word)
        return Located(ids, starts, ends)

    def _ids(self, words: pa.LargeStringArray) -> NDArray[np.int64]:
        found = _numpy(pc.index_in(words, value_set=self._words).fill_null(-1))
        return np.where(found < 0, self._unknown, self._lines[found])


class HuggingFace:
    """A `tokenizer.json`, run by the package `tokenizers`.

    A text longer than 2^18 characters is encoded in windows that overlap, and joined where two of them agree about 16
    tokens in a row: the ids are those of the whole wherever a token depends on its surroundings only. Without
    agreement, as inside an endless run of one character, a token at the joint may differ. So besides text and ids
    some 50 MB are held.
    """

    def __init__(self, content: bytes) -> None:
        """Read the tokenizer.

        Args:
            content: The bytes of `tokenizer.json`. Padding and truncation that it asks for are off.
        """
        import tokenizers  # noqa: PLC0415 - an extra: imported where it is needed

        self._inner = tokenizers.Tokenizer.from_buffer(content)
        self._inner.no_truncation()
        self._inner.no_padding()
        self.digest = sha256_hex(content)
        self.vocab_size = _size(self._inner.get_vocab(with_added_tokens=True))
        self.base_size = _size(self._inner.get_vocab(with_added_tokens=False))

    def encode(self, texts: pa.LargeStringArray) -> Encoded:
        """Encode texts without special tokens at their ends; a null has no tokens, a refused text is `OUTSIDE`."""
        found = [ids for part in _parts(texts) for ids in self._ids(part)]
        offsets = np.zeros(len(found) + 1, np.int64)
        np.cumsum([ids.size for ids in found], out=offsets[1:])
        return Encoded(np.concatenate([np.zeros(0, np.int64), *found]), offsets)

    def locate(self, text: str) -> Located:
        """Encode one text and say where its tokens stand."""
        columns = zip(*self._windows(text), strict=True)
        return Located(*map(np.concatenate, columns))

    def _ids(self, part: list[str]) -> list[NDArray[np.int64]]:
        if len(part) == 1 and len(part[0]) > _WINDOW:
            return [np.concatenate([window.ids for window in self._windows(part[0])])]
        try:
            encodings = self._inner.encode_batch_fast(part, add_special_tokens=False)  # releases the interpreter lock
        except Exception:  # noqa: BLE001 - the package raises bare exceptions
            return [np.array([OUTSIDE])] if len(part) == 1 else [ids for text in part for ids in self._ids([text])]
        return list(starmap(_own_ids, zip(part, encodings, strict=True)))

    def _windows(self, text: str) -> Iterator[Located]:
        starts = range(0, max(len(text) - _OVERLAP, 1), _WINDOW - _OVERLAP)
        return _joined(self._located(text, start) for start in starts)

    def _located(self, text: str, start: int) -> Located:
        window = text[start : start + _WINDOW]
        try:
            encoding = self._inner.encode_batch([window], add_special_tokens=False)[0]
        except Exception:  # noqa: BLE001 - the package raises bare exceptions
            return Located(np.array([OUTSIDE]), np.array([start]), np.array([start + len(window)]))
        ids = _own_ids(window, encoding)
        places = np.array(encoding.offsets[: ids.size], np.int64).reshape(-1, 2) + start
        return Located(ids, places[:, 0], places[:, 1])


class Group(NamedTuple):
    """Keys that share a tokenizer, so that a text is encoded once for all of them."""

    keys: tuple[Key, ...]
    tokenizer: Tokenizer | None
    reason: str | None
    """Why there is no tokenizer: the keys are `unsupported`."""


def load_tokenizer(path: Path, sha256: str) -> Tokenizer:
    """Load a tokenizer, once per process.

    Args:
        path: A `tokenizer.json` of Hugging Face, or a `.txt` with one word per line.
        sha256: The digest that the file must have.

    Returns:
        The tokenizer.

    Raises:
        UsageError: The file is not there, is another one, cannot be read, or its reader is not installed.
    """
    return _load(str(path), sha256)


def tokenizer_of(key: Key) -> Tokenizer:
    """Load the tokenizer of a key.

    Raises:
        UsageError: It names none, it cannot be loaded, or it gives ids that the key's vocabulary does not have.

    Returns:
        The tokenizer.
    """
    if key.tokenizer is None or key.tokenizer_sha256 is None:
        raise UsageError("it names no tokenizer; give `tokenizer` and `tokenizer_sha256`")
    tokenizer = load_tokenizer(Path(key.tokenizer), key.tokenizer_sha256)
    if key.vocab_size is not None and tokenizer.base_size > key.vocab_size:
        raise UsageError(
            f"its tokenizer has {tokenizer.base_size} ids and `vocab_size` is {key.vocab_size}: one of them is wrong"
        )
    return tokenizer


def vocabulary_warning(key: Key, tokenizer: Tokenizer) -> str | None:
    """Say that a key's vocabulary is not the tokenizer's; a wrong one misses every mark without a word."""
    if key.vocab_size in {None, tokenizer.vocab_size}:
        return None
    return (
        f"`vocab_size` is {key.vocab_size} and its tokenizer has {tokenizer.vocab_size} ids: right only if the model "
        "chose from that many (a padded embedding, or added tokens left out); a wrong size finds nothing"
    )


def by_tokenizer(keys: Iterable[Key]) -> list[Group]:
    """Group keys by the tokenizer that can be loaded for them, in order of first appearance."""
    groups: dict[tuple[str | None, str | None], Group] = {}
    for key in keys:
        found = _group(key)
        place = (found.tokenizer.digest if found.tokenizer else None, found.reason)
        earlier = groups.get(place)
        groups[place] = found if earlier is None else earlier._replace(keys=earlier.keys + found.keys)
    return list(groups.values())


def _group(key: Key) -> Group:
    try:
        return Group((key,), tokenizer_of(key), None)
    except UsageError as error:
        return Group((key,), None, str(error))


@lru_cache(maxsize=8)
def _load(path: str, sha256: str) -> Tokenizer:
    content = _content(Path(path))
    digest = sha256_hex(content)
    if digest != sha256:
        raise UsageError(f"{path}: its SHA-256 is {digest}, not {sha256}: this is another tokenizer or version")
    readers: dict[str, type[HuggingFace | Vocabulary]] = {".json": HuggingFace, ".txt": Vocabulary}
    reader = readers.get(Path(path).suffix)
    if reader is None:
        raise UsageError(f"{path}: a tokenizer is a tokenizer.json or a .txt with one word per line")
    try:
        return reader(content)
    except ImportError:
        raise UsageError(f"{path}: its reader is not installed; install collapse-guard[tokenizers]") from None
    except Exception as error:  # noqa: BLE001 - the package raises bare exceptions
        raise UsageError(f"{path}: this is no tokenizer that can be read: {error}") from None


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path}: it is larger than {_MAX_BYTES >> 20} MiB, which no tokenizer is")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the tokenizer cannot be read ({error.strerror})") from None


def _parts(texts: pa.LargeStringArray) -> Iterator[list[str]]:
    """Cut an array into lists of at most `_WINDOW` characters; a longer text is a list of its own."""
    part: list[str] = []
    room = _WINDOW
    for value in texts:
        text = value.as_py() or ""
        if part and len(text) > room:
            yield part
            part, room = [], _WINDOW
        part.append(text)
        room -= len(text)
    if part:
        yield part


def _own_ids(text: str, encoding: Any) -> NDArray[np.int64]:  # noqa: ANN401 - the package has no types
    """The ids of a text; some tokenizers make a token even of none."""
    return np.array(encoding.ids if text else (), np.int64)


def _joined(windows: Iterator[Located]) -> Iterator[Located]:
    """Cut windows that overlap so that each place is covered once."""
    left = next(windows)
    for index, right in enumerate(windows, 1):
        end, begin = _meeting(left, right, index * (_WINDOW - _OVERLAP))
        yield left.part(0, end)
        left = right.part(begin)
    yield left


def _meeting(left: Located, right: Located, first: int) -> tuple[int, int]:
    """Find where the right window, whose first character is given, takes over: an index into the tokens of each."""
    low, high = first + _OVERLAP // 4, first + 3 * _OVERLAP // 4  # the ends of a window are cut through words
    from_left, from_right = np.searchsorted(left.starts, low), np.searchsorted(right.starts, low)
    mine = left.starts[from_left : np.searchsorted(left.starts, high)]
    other = right.starts[from_right : np.searchsorted(right.starts, high)]
    _, at_left, at_right = np.intersect1d(mine, other, return_indices=True)
    for end, begin in zip(at_left + from_left, at_right + from_right, strict=True):
        if _agree(left.part(end, end + _AGREEING), right.part(begin, begin + _AGREEING)):
            return int(end), int(begin)
    middle = first + _OVERLAP // 2
    return int(np.searchsorted(left.starts, middle)), int(np.searchsorted(right.starts, middle))


def _agree(left: Located, right: Located) -> bool:
    return np.array_equal(left.ids, right.ids) and np.array_equal(left.starts, right.starts)


def _size(vocabulary: dict[str, int]) -> int:
    return max(vocabulary.values(), default=-1) + 1


def _numpy(values: pa.Array) -> NDArray[Any]:
    return values.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
