"""Characters that nobody sees: payloads in tags, selectors and zero-width characters, and narrow spaces.

What scripts, emoji and typography need is no finding: flags of regions made of tags, one selector after an emoji or an
ideograph, joiners in Arabic, Indic and emoji sequences, narrow spaces of French punctuation and inside numbers.
No-break spaces (U+00A0) are no finding at all: human pages are full of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAGS = re.compile("[\U000e0000-\U000e007f]+")
_REGION = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")
_AFTER_LETTERS = re.compile("(?<=[A-Za-z])[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_ZERO_WIDTH_RUN = re.compile("[\u200b-\u200d\u2060\ufeff]{8,}")
_BETWEEN_ASCII = re.compile("(?<=[ -~])[\u200b-\u200d\u2060\ufeff]{1,7}(?=[ -~])")
_NARROW = {"\u202f": ("narrow_spaces", 5), "\u2009": ("thin_spaces", 10)}
_TYPOGRAPHY = re.compile("(?<=\\d)[\u202f\u2009](?=\\d)|[\u202f\u2009](?=[;:!?»%€$£])|(?<=[«§№])[\u202f\u2009]")
_SPACED = frozenset({"fr", "mn", "br", "oc", "co"})
"""Languages that set narrow spaces by rule (Mongolian: before suffixes)."""

_STRAY_TAGS, _PAYLOAD, _LONG_RUN, _SCATTERED = 3, 4, 16, 16
_PER_CHARACTERS = 1000
_BITS_OF_BYTE = 8
_FIRST_SUPPLEMENT, _TAG_BASE, _FIRST_SELECTOR, _BASIC = 0xE0100, 0xE0000, 0xFE00, 16
_STRONG, _MEDIUM, _WEAK = 3, 2, 1


class Hidden(NamedTuple):
    """A finding: its name, level from 1 (weak) to 3, span in characters, and the payload where one was read."""

    name: str
    level: int
    start: int
    end: int
    detail: str


def find_tags(text: str) -> Iterator[Hidden]:
    """Find text written in tag characters (U+E0000 to U+E007F), except flags of regions.

    Yields:
        One finding per run.
    """
    flags = {match.start() + 1 for match in _REGION.finditer(text)}
    for match in _TAGS.finditer(text):
        if match.start() not in flags:
            payload = "".join(chr(ord(tag) - _TAG_BASE) for tag in match[0])
            shown = _readable(payload)
            level = _WEAK if len(payload) < _STRAY_TAGS else _STRONG if shown else _MEDIUM
            yield Hidden("hidden:tags", level, *match.span(), shown or f"{len(payload)} tag characters")


def find_selectors(text: str) -> Iterator[Hidden]:
    """Find bytes written in variation selectors: in a run, or one after each letter.

    Yields:
        One finding per run, and one for all that follow letters.
    """
    for match in _SELECTORS.finditer(text):
        if len(set(match[0])) > 1:  # emoji edited often have theirs twice
            yield _selected(match[0], *match.span())
    after = list(_AFTER_LETTERS.finditer(text))
    if len(after) >= _PAYLOAD:
        yield _selected("".join(match[0] for match in after), after[0].start(), after[-1].end())


def find_zero_widths(text: str) -> Iterator[Hidden]:
    """Find bits written in zero-width characters: in a run, or scattered between ASCII characters.

    Yields:
        One finding per run, and one for all that are scattered.
    """
    for match in _ZERO_WIDTH_RUN.finditer(text):
        if len(set(match[0])) > 1:
            yield _bits(match[0], *match.span(), otherwise=_MEDIUM if len(match[0]) >= _LONG_RUN else _WEAK)
    between = list(_BETWEEN_ASCII.finditer(text))
    symbols = "".join(match[0] for match in between)
    if len(symbols) >= _SCATTERED and len(set(symbols)) > 1:
        yield _bits(symbols, between[0].start(), between[-1].end(), otherwise=_WEAK)


def find_narrow_spaces(text: str, language: str | None) -> Iterator[Hidden]:
    """Find many narrow spaces that neither the typography of numbers and punctuation nor the language explains.

    Yields:
        At most one finding per character.
    """
    if language in _SPACED:
        return
    rest = _TYPOGRAPHY.sub("", text)
    for space, (name, least) in _NARROW.items():
        count = rest.count(space)
        if count >= max(least, len(rest) / _PER_CHARACTERS):
            yield Hidden(f"spaces:{name}", _WEAK, text.find(space), text.rfind(space) + 1, f"{count} characters")


def _selected(selectors: str, start: int, end: int) -> Hidden:
    values = bytes(_selected_byte(ord(selector)) for selector in selectors)
    payload = _readable(values.decode(errors="replace")) if len(values) >= _PAYLOAD else ""
    level = _WEAK if len(values) < _PAYLOAD else _STRONG if payload else _MEDIUM
    return Hidden("hidden:selectors", level, start, end, payload or f"{len(values)} variation selectors")


def _selected_byte(code: int) -> int:
    return code - _FIRST_SELECTOR if code < _FIRST_SUPPLEMENT else code - _FIRST_SUPPLEMENT + _BASIC


def _bits(symbols: str, start: int, end: int, *, otherwise: int) -> Hidden:
    payload = next(filter(None, map(_readable, _decodings(symbols))), "")
    level = _STRONG if payload else otherwise
    return Hidden("hidden:zero_width", level, start, end, payload or f"{len(symbols)} zero-width characters")


def _decodings(symbols: str) -> Iterator[str]:
    """Read zero-width characters as bits, either way round, the rarest kinds as separators, or as pairs of bits."""
    kinds = sorted(set(symbols), key=symbols.count, reverse=True)
    zero, one = sorted(kinds[:2])
    for off, on in ((zero, one), (one, zero)):
        yield _bytes("".join({off: "0", on: "1"}.get(symbol, "") for symbol in symbols))
    pairs = {kind: f"{index:02b}" for index, kind in enumerate(sorted(kinds)[:4])}
    yield _bytes("".join(pairs.get(symbol, "") for symbol in symbols))


def _bytes(bits: str) -> str:
    whole = len(bits) // _BITS_OF_BYTE * _BITS_OF_BYTE
    values = bytes(int(bits[at : at + _BITS_OF_BYTE], 2) for at in range(0, whole, _BITS_OF_BYTE))
    return values.decode(errors="replace") if len(values) > 1 else ""


def _readable(payload: str) -> str:
    """Give a payload where it is text."""
    shown = payload.strip("\0\U0001f3f4")
    return shown if shown and shown.isprintable() and "\ufffd" not in shown else ""
