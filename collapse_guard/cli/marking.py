"""The command that marks finished outputs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import PATH, as_json
from collapse_guard.cli.terminal import notes, show
from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.provenance.marking.images import ImageSigner
    from collapse_guard.provenance.marking.statement import Marked, Statement

_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*utf-?8", re.IGNORECASE)


@click.command()
@click.argument("files", nargs=-1, type=PATH)
@click.option("--producer", required=True, help="Who answers for the content.")
@click.option("--model", help="Which model wrote it.")
@click.option(
    "--generation", type=click.IntRange(0), help="Of the corpus that the model learnt from; 0 for human text."
)
@click.option("--mode", type=click.Choice(["synthetic", "edited"]), default="synthetic", show_default=True)
@click.option("--produced-at", help="When (ISO 8601, with a time zone); by default now.")
@click.option("--certificate", type=PATH, help="Certificate chain (PEM) for C2PA; without one, images get plain XMP.")
@click.option("--certificate-key", type=PATH, help="Its private key (PEM).")
@click.option("--out", type=PATH, default=Path("marked"), show_default=True, help="The folder for the marked files.")
@as_json
def mark(files: tuple[Path, ...], out: Path, **said: Any) -> None:
    """Mark finished outputs as a model's, so that the next scrape can leave them out.

    FILES are JSON lines, Parquet, HTML and images. Without FILES, prints the value for the header `AI-Disclosure`.
    """
    from collapse_guard.provenance.marking.statement import disclosure_header

    header = disclosure_header(_statement(said, "response"))
    if not files:
        show({"AI-Disclosure": header, "files": []}, json_wanted=said["as_json"], text=header)
        return
    signer = _signer(said["certificate"], said["certificate_key"])
    written = [_mark_file(path, out, said, signer) for path in files]
    text = "\n".join(f"{one['file']} -> {one['marked']}" for one in written)
    show({"AI-Disclosure": header, "files": written}, json_wanted=said["as_json"], text=text)


def _statement(said: dict[str, Any], content_id: str) -> Statement:
    from collapse_guard.provenance.marking.statement import Statement

    try:
        at = datetime.fromisoformat(said["produced_at"]) if said["produced_at"] else datetime.now(UTC)
    except ValueError:
        given = said["produced_at"]
        raise UsageError(f"--produced-at {given!r} is no time; write it as 2026-11-23T12:00:00+00:00") from None
    return Statement(said["producer"], content_id, at, said["mode"], said["model"], said["generation"])


def _signer(chain: Path | None, key: Path | None) -> ImageSigner | None:
    from collapse_guard.provenance.marking.images import ImageSigner

    if (chain is None) != (key is None):
        raise UsageError("a C2PA signature needs both --certificate and --certificate-key")
    return ImageSigner(_read(chain), _read(key)) if chain and key else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read ({error.strerror})") from None


def _mark_file(path: Path, out: Path, said: dict[str, Any], signer: ImageSigner | None) -> dict[str, str]:
    target = out / path.name
    if target.exists():
        raise UsageError(f"{target} is already there; marked files are not overwritten: choose another --out")
    statement = _statement(said, path.stem)
    data = _read(path)
    marked = _marker(path.suffix.lower(), signer)(data, statement)
    for note in marked.notes:
        notes.print(f"{path}: {note}", markup=False)
    out.mkdir(parents=True, exist_ok=True)
    target.write_bytes(marked.content)
    return {"file": str(path), "marked": str(target)}


def _marker(suffix: str, signer: ImageSigner | None) -> Callable[[bytes, Statement], Marked[bytes]]:
    from functools import partial

    from collapse_guard.provenance.marking.images import mark_image

    rows: dict[str, Callable[[bytes, Statement], Marked[bytes]]] = {
        ".jsonl": _mark_lines,
        ".parquet": _mark_parquet,
        ".html": _mark_page,
        ".htm": _mark_page,
    }
    return rows.get(suffix) or partial(mark_image, signer=signer)


def _mark_parquet(data: bytes, statement: Statement) -> Marked[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from collapse_guard.provenance.marking.finished import mark_rows

    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{statement.content_id}: this is no Parquet file ({error})") from None
    marked, sink = mark_rows(table, statement), pa.BufferOutputStream()
    pq.write_table(marked.content, sink)
    return marked._replace(content=sink.getvalue().to_pybytes())


def _mark_lines(data: bytes, statement: Statement) -> Marked[bytes]:
    """Mark JSON lines: every value that is not a mark stays as it is."""
    import orjson
    import pyarrow as pa

    from collapse_guard.provenance.marking.finished import mark_rows

    rows = [_row(line, number) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    known = ("id", "AIGC", "digitalSourceType", "AI-Disclosure", "generation")
    present = [name for name in known if any(name in row for row in rows)]
    columns = {name: [_text(row.get(name)) for row in rows] for name in present}
    marked = mark_rows(pa.table(columns or {"id": [None] * len(rows)}), statement)
    added = marked.content.drop_columns(["id"]).to_pylist()
    lines = (
        orjson.dumps(row | {name: value for name, value in more.items() if value is not None})
        for row, more in zip(rows, added, strict=True)
    )
    return marked._replace(content=b"".join(line + b"\n" for line in lines))


def _text(value: Any) -> Any:
    import orjson

    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _row(line: bytes, number: int) -> dict[str, Any]:
    import orjson

    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"line {number} is no JSON ({error}); nothing was marked") from None
    if not isinstance(row, dict):
        raise UsageError(f"line {number} is no JSON object; nothing was marked")
    return row


def _mark_page(data: bytes, statement: Statement) -> Marked[bytes]:
    """Mark a page in its own encoding: what is added is ASCII."""
    from collapse_guard.provenance.marking.finished import mark_html
    from collapse_guard.provenance.marking.statement import Marked

    encoding = "utf-8" if _CHARSET.search(data[:1024]) and _is_utf8(data) else "latin-1"
    marked = mark_html(data.decode(encoding), statement)
    return Marked(marked.content.encode(encoding), marked.notes)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


COMMANDS = (mark,)
