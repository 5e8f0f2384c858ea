"""The columns by which documents are compared, and by which the copy that stays is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import ORIGINS
from collapse_guard.kernels.clusters import hash_strings
from collapse_guard.kernels.minhash import BANDS, ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

EVALUATION_RANK = -1
"""The rank of an evaluation split: its documents win over every other copy."""

_HOST = r"(?is)^https?://(?:[^/?#@]*@)?(?:www\.)?(?P<host>[^/?#:]+)(?::(?:80|443))?(?P<rest>[/?#].*)?$"
_CLEANING = (
    (r"(?s)#(?:[^!].*)?$", ""),  # a fragment is a place in the page, unless it says which page
    (r"([?&])(?:utm_\w+|gclid|fbclid|msclkid|mc_cid|mc_eid|igshid)=[^&]*", r"\1"),
    (r"\?&+", "?"),
    (r"&&+", "&"),
    (r"[?&]+$", ""),
    (r"/+$", ""),
)

INDEX = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("text_sha256", pa.binary()),
        pa.field("rank", pa.int8()),
        pa.field("captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("url_key", pa.uint64()),
        pa.field("bands", pa.list_(pa.field("element", pa.uint64()), BANDS)),  # named as Parquet does
        pa.field("sketch", pa.binary(BANDS * ROWS)),
        pa.field("shingles", pa.int32()),
    ]
)
"""One row per document; the sizes of `bands` and `sketch` are those of the signatures.

Null `bands` and `sketch`: too short to be nearly the same as anything. Null `url_key`: has no URL, or URLs are not
compared. Null `text_sha256`: no text, a copy of nothing. The copy with the smallest `rank` stays."""


def index_of(measured: pa.Table, *, rank: int | None = None) -> pa.Table:
    """Reduce measured documents to what is compared.

    Args:
        measured: Columns `id, text_sha256, captured_at`, and `origin` unless a rank is given; `url_key, bands, sketch,
            shingles` where documents are compared by them.
        rank: One for all, such as `EVALUATION_RANK`; by default the place of the origin in `ORIGINS`.

    Returns:
        Rows of INDEX.
    """
    rows = measured.num_rows
    ranks = _ranks(measured["origin"]) if rank is None else pa.array(np.full(rows, rank, np.int8))
    columns = {name: measured[name] for name in INDEX.names if name in measured.column_names} | {"rank": ranks}
    return pa.table({field.name: columns.get(field.name, pa.nulls(rows, field.type)) for field in INDEX})


def _ranks(origins: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.index_in(origins.cast(pa.string()), pa.array(ORIGINS)).cast(pa.int8())


def url_keys(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Hash URLs so that different spellings of one address are equal.

    Scheme, user name, `www.`, default port, fragment, well-known tracking parameters and a final slash make no
    difference, nor does the case of the host. What is no http URL is compared as it is.

    Args:
        urls: n strings.

    Returns:
        n uint64; null where there is no URL.

    Source: RFC 3986, section 6.
    """
    given = pc.utf8_trim_whitespace(urls)
    parts = pc.extract_regex(given, _HOST)
    rest = pc.struct_field(parts, "rest")
    for pattern, replacement in _CLEANING:
        rest = pc.replace_substring_regex(rest, pattern, replacement)
    plain = pc.binary_join_element_wise(pc.utf8_lower(pc.struct_field(parts, "host")), rest, "")
    plain = pc.coalesce(plain, given)
    missing = pc.fill_null(pc.equal(pc.binary_length(plain), 0), True)  # noqa: FBT003 - a null is no URL
    return pa.array(hash_strings(plain), mask=np.asarray(missing))


def digest_words(digests: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first 16 bytes of SHA-256 digests, none of them null, as two numbers each: shape (n, 2), in their order."""
    fixed = digests.cast(pa.binary(32)).combine_chunks()
    return np.asarray(matrix(fixed).view(">u8")[:, :2].astype(np.uint64))


def matrix(column: pa.Array) -> NDArray[np.uint8]:
    """View byte strings of one size as an array of shape (n, size); a null has any bytes."""
    size = column.type.byte_width
    data = column.buffers()[1]
    if data is None:
        return np.zeros((len(column), size), np.uint8)
    return np.frombuffer(data, np.uint8).reshape(-1, size)[column.offset : column.offset + len(column)]


def order_key(table: pa.Table) -> NDArray[np.uint64]:
    """Rank, then time of capture with unknown last, as one number; of times, centuries away from 1970 are equal."""
    ranks = (table["rank"].to_numpy().astype(np.int64) + 128).astype(np.uint64)
    limit = (1 << 55) - 1
    times = np.clip(table["captured_at"].cast(pa.int64()).fill_null(limit).to_numpy(), -limit, limit)
    key: NDArray[np.uint64] = (ranks << np.uint64(56)) | (times + limit).astype(np.uint64)
    return key
