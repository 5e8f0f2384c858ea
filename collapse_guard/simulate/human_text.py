"""Prose that every machine has: the documentation of the running Python and of what is installed in it."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sysconfig
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from collapse_guard.document import derive_id
from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message
    from importlib.metadata import PackagePath

HUMAN_TEXT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
    ]
)
"""One document of human text; `domain` is `topics`, `stdlib`, `distribution` or `description`."""

LEAST_BYTES = 300_000
MOST_WORDS = 600  # of one document; longer texts are split at blank lines
MOST_SHARE = 0.10  # of the wanted bytes from one distribution, so that no library sets the tone
OWN_DISTRIBUTION = "collapse-guard"

SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "testing", "idlelib", "lib2to3", "site-packages", "_vendor", "vendored", "__pycache__"}
)
# Cleaning costs 0.2 s per MB, so only files that are rich in prose are read on: those with many articles per byte.
LEAST_ARTICLES = 15
ARTICLE_SHARE = 0.002
TOP_LEVEL = 4  # columns by which the docstring of a function or class of a module is indented
DOCSTRING = re.compile(
    rb'(?:\A(?:\#[^\n]*\n|\n)*|:\n)(?P<indent>[ \t]*)(?P<literal>[rRuU]?"""(?:[^"\\]++|\\.|"(?!""))*+""")', re.DOTALL
)

LEAST_PARAGRAPH = 8  # words
ODD_SHARE = 0.06
STOP_SHARE = 0.2
LONGEST_LICENCE_NAME = 40

FENCED = re.compile(r"^[ ]*(```|~~~).*?^[ ]*\1[^\n]*$", re.MULTILINE | re.DOTALL)
BLANK_LINE = re.compile(r"\n\s*\n")
HEADINGS = re.compile(  # of sections, parameters and directives: what they say is no sentence, what they head may be
    r"^[ ]*(?:"
    r"[^\n]*\n[ ]*[-=~^\"#*]{3,}[ ]*$"  # a title and its underline
    r"|[*\w][\w*, .\[\]]{0,60} : [^\n]*$"  # name : type
    r"|:\w[^:\n]*:"  # :param name:
    r"|\*{0,2}\w+(?: \([^)\n]*\))?:[ ]+"  # name (type): what it is
    r"|[A-Z][\w ]{0,20}:[ ]*$"  # Args:
    r"|\.\. [^\n]*$"
    r"|\#+ [^\n]*$"
    r")",
    re.MULTILINE,
)
CODE = re.compile(r"^\s*(?:>>>|[$|+@])", re.MULTILINE)
CODE_CHARACTER = re.compile(r"[_=\\{}<>|#~^@$]")
CODE_SHAPE = re.compile(r"[(\[](?<=\w.)(?!s\))|--\w|\.\w+\.\w{2}")
BULLET = re.compile(r"(?:^|\n)\s*(?:[-*+•]|\d{1,2}[.)])\s+")
MARKUP = (  # a character without which the pattern cannot match, the pattern, what stays
    ("<", re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL), " "),
    ("]", re.compile(r"!\[[^\]]*\]\([^)]*\)|\[\d+\]_"), " "),
    ("]", re.compile(r"\[([^\]]+)\]\s?(?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    ("`", re.compile(r"(?::[a-z:+-]+:)?`+[~!]?([^`<]+?)\s*(?:<[^`>]*>)?`+_{0,2}"), r"\1"),
    ("*", re.compile(r"(?<!\w)(\*{1,2})(\w[^*\n]*?)\1(?!\w)"), r"\2"),
    ("_", re.compile(r"(?<!\w)(_{1,2})(\w[^_\n]*?)\1(?!\w)"), r"\2"),
    ("(", re.compile(r"\(\)"), ""),
)
ODD_WORD = re.compile(r"[./:]\w|[a-z][A-Z]|[0-9][a-zA-Z]|[A-Z]{7}")
SENTENCE_END = re.compile(r"[.!?][\"')\]\u201d\u2019]?$")
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by can for from has have if in is it its may not of on or should so such that "
        "the their then there these they this to was we when which will with you your",
    )
)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where texts come from, in the words of the table."""

    source: str
    domain: str
    licence: str


@dataclass(frozen=True, slots=True)
class _File:
    """One Python file; `name` does not depend on where Python is installed."""

    path: Path
    name: str
    origin: _Origin


@dataclass(frozen=True, slots=True)
class _Library:
    """One installed distribution, as its metadata describe it."""

    source: str
    licence: str
    description: str
    files: tuple[PackagePath, ...]


@dataclass(slots=True)
class _Harvest:
    """Documents so far; a paragraph counts once, wherever it is repeated."""

    minimum_words: int
    rows: dict[str, tuple[str, _Origin]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    bytes: int = 0

    def add(self, texts: Iterable[str], origin: _Origin) -> int:
        """Keep the prose of the texts of one file as documents, and say how many bytes that added."""
        before = self.bytes
        short: list[str] = []
        for text in texts:
            paragraphs = [p for p in dict.fromkeys(_prose(text)) if p not in self.seen]
            self.seen.update(paragraphs)
            short += self._keep(paragraphs, origin)
        self._keep(short, origin)  # short texts of one file make one page of reference
        return self.bytes - before

    def _keep(self, paragraphs: list[str], origin: _Origin) -> list[str]:
        """Keep documents of enough words, and give back the paragraphs that are too few for one."""
        for document in _documents(paragraphs):
            if sum(len(paragraph.split()) for paragraph in document) < self.minimum_words:
                return document
            text = "\n\n".join(document)
            self.rows[derive_id(text, None, None)] = (text, origin)
            self.bytes += len(text.encode())
        return []

    def table(self, limit_bytes: int) -> pa.Table:
        """Give the documents in the order of their ids, so that every prefix is a fair sample."""
        ids, used = [], 0
        for identifier in sorted(self.rows):
            used += len(self.rows[identifier][0].encode())
            if used > limit_bytes:
                break
            ids.append(identifier)
        texts, origins = [self.rows[i][0] for i in ids], [self.rows[i][1] for i in ids]
        columns = [[getattr(origin, name) for origin in origins] for name in ("source", "domain", "licence")]
        return pa.table([ids, texts, *columns], schema=HUMAN_TEXT)


def read_human_text(limit_bytes: int = 6_000_000, minimum_words: int = 60) -> pa.Table:
    """Read the prose that people wrote about Python and the installed libraries, from this installation.

    Topics of the language reference, docstrings (by `ast`, never imported) and descriptions of distributions. Code,
    parameter tables and repeated paragraphs are left out by simple rules. What collapse_guard says about itself is
    not read. The text is presumed human, not verified: a library of today may hold passages that a model wrote.

    Args:
        limit_bytes: Most bytes of text in all.
        minimum_words: Fewest words of one document; the most are about 600.

    Returns:
        One row per document, schema `HUMAN_TEXT`, sorted by id; the same for the same installation.

    Raises:
        UsageError: This installation holds less than 300 KB of prose.
    """
    harvest = _Harvest(minimum_words)
    installed = _installed()
    for name in sorted(topics):
        harvest.add([topics[name]], _Origin(f"topics/{name}", "topics", "PSF-2.0"))
    for library in installed:
        harvest.add([library.description], _Origin(library.source, "description", library.licence))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes in other people's strings
        _add_docstrings(harvest, installed, max(limit_bytes, LEAST_BYTES))
    if harvest.bytes < LEAST_BYTES:
        raise UsageError(
            f"this Python installation holds {harvest.bytes:,} bytes of prose in its documentation; {LEAST_BYTES:,} "
            "are needed: install the project's dependencies, or pass your own texts"
        )
    return harvest.table(limit_bytes)


def _add_docstrings(harvest: _Harvest, installed: list[_Library], limit_bytes: int) -> None:
    """Parse files until there is enough text; all libraries take turns, in the order of a digest."""
    files = [*_stdlib_files(), *(file for library in installed for file in _library_files(library))]
    used: Counter[str] = Counter()
    for file in sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest()):
        if harvest.bytes >= limit_bytes:
            return
        library = file.origin.source if file.origin.domain == "distribution" else "stdlib"
        if library == "stdlib" or used[library] < limit_bytes * MOST_SHARE:
            used[library] += harvest.add(_docstrings(file.path), file.origin)


def _stdlib_files() -> Iterator[_File]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in root.rglob("*.py"):
        name = path.relative_to(root)
        if SKIPPED_FOLDERS.isdisjoint(name.parts):
            module = ".".join(name.with_suffix("").parts).removesuffix(".__init__")
            yield _File(path, f"stdlib/{name.as_posix()}", _Origin(f"stdlib/{module}", "stdlib", "PSF-2.0"))


def _library_files(library: _Library) -> Iterator[_File]:
    origin = _Origin(library.source, "distribution", library.licence)
    for name in library.files:
        if name.suffix == ".py" and SKIPPED_FOLDERS.isdisjoint(name.parts):
            yield _File(Path(str(name.locate())), f"{library.source}/{name.as_posix()}", origin)


def _installed() -> list[_Library]:
    """Read the metadata of every installed distribution but our own, once."""
    libraries = {}
    for distribution in distributions():
        metadata = cast("Message", distribution.metadata)  # the protocol lacks `get` and the body
        name, version = metadata.get("Name", ""), metadata.get("Version", "")
        if name and name.lower().replace("_", "-") != OWN_DISTRIBUTION:
            description = metadata.get("Description") or str(metadata.get_payload() or "")
            files = tuple(distribution.files or ())
            libraries[name, version] = _Library(f"dist/{name}", _licence(metadata), description, files)
    return [libraries[key] for key in sorted(libraries)]


def _licence(metadata: Message) -> str:
    """Give the licence that the metadata state, in the most exact of the three places where they may."""
    stated = metadata.get("License-Expression") or metadata.get("License") or ""
    classifiers = [c for c in metadata.get_all("Classifier") or () if c.startswith("License ::")]
    if stated and "\n" not in stated and len(stated) <= LONGEST_LICENCE_NAME:
        return stated
    return classifiers[-1].rsplit(" :: ", 1)[-1] if classifiers else "unknown"


def _docstrings(path: Path) -> Iterator[str]:
    """Give the docstrings of a file that is rich in prose; a class with its methods is one text, a function another."""
    try:
        source = path.read_bytes()
    except OSError:
        return  # listed, but not there
    if source.count(b" the ") < max(LEAST_ARTICLES, ARTICLE_SHARE * len(source)):
        return
    text: list[str] = []
    for indent, literal in _literals(source):
        if len(indent) <= TOP_LEVEL and text:
            yield "\n\n".join(text)
            text = []
        text.append(literal)
    yield "\n\n".join(text)


def _literals(source: bytes) -> Iterator[tuple[bytes, str]]:
    """Read string literals that stand where docstrings stand: the whole file need not be parsed, let alone run."""
    for match in DOCSTRING.finditer(source):
        with suppress(SyntaxError, ValueError):
            yield match["indent"], inspect.cleandoc(ast.literal_eval(match["literal"].decode()))


def _prose(text: str) -> Iterator[str]:
    """Give the paragraphs and list items that read as sentences, each on one line, without markup."""
    for block in BLANK_LINE.split(HEADINGS.sub("\n\n", FENCED.sub("\n\n", text))):
        if not CODE.search(block):
            yield from filter(_is_prose, map(_without_markup, filter(_may_be_prose, BULLET.split(block))))


def _may_be_prose(text: str) -> bool:
    """Sort out most of what is no prose before the dear part."""
    return len(text.split()) >= LEAST_PARAGRAPH and bool(SENTENCE_END.search(text.rstrip()[-2:]))


def _without_markup(text: str) -> str:
    for needed, pattern, replacement in MARKUP:
        if needed in text:
            text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _is_prose(paragraph: str) -> bool:
    """Tell sentences from code and tables: plain words, function words, and a sentence end."""
    if CODE_CHARACTER.search(paragraph) or CODE_SHAPE.search(paragraph) or not SENTENCE_END.search(paragraph[-2:]):
        return False
    words = paragraph.lower().split()
    odd = len(ODD_WORD.findall(paragraph))
    stops = sum(map(STOP_WORDS.__contains__, words))
    return len(words) >= LEAST_PARAGRAPH and odd <= ODD_SHARE * len(words) and stops >= STOP_SHARE * len(words)


def _documents(paragraphs: Iterable[str]) -> Iterator[list[str]]:
    """Gather paragraphs into documents of at most 600 words; only the last may be short."""
    document: list[str] = []
    words = 0
    for paragraph in paragraphs:
        length = len(paragraph.split())
        if document and words + length > MOST_WORDS:
            yield document
            document, words = [], 0
        document, words = [*document, paragraph], words + length
    if document:
        yield document
