"""A release as Croissant 1.1: JSON-LD that names its files by digest and its columns by meaning.

Source: MLCommons Croissant format specification 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapse_guard.release import released_snapshot

if TYPE_CHECKING:
    from collapse_guard.release import Release
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
FILES, RECORDS = "document-shards", "documents"
_TERMS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format "
    "includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
).split()
FIELDS = {
    "id": ("sc:Text", "The document's id, as the input gave it or derived from its content; a claim, not unique."),
    "text": ("sc:Text", "The text."),
    "tokens": ("sc:Integer", "Length in tokens, as the policy counts them."),
    "source": ("sc:Text", "The input file that the document came from."),
    "url": ("sc:Text", "Where it was captured."),
    "domain": ("sc:Text", "The domain of that address."),
    "captured_at": ("sc:DateTime", "When it was captured."),
    "language": ("sc:Text", "Language, as the input claims."),
    "origin": ("sc:Text", "Who wrote it, as far as evidence says."),
    "stratum": ("sc:Text", "`human` for the protected reservoir, `pool` for what was scraped."),
    "text_sha256": ("sc:Text", "SHA-256 of the text."),
}
"""The columns that are described, each with its type and meaning."""


def croissant(store: Store, entry: Release) -> dict[str, Any]:
    """Describe a release.

    Args:
        store: Where it lies.
        entry: The release, its signature verified.

    Returns:
        JSON-LD. Addresses of files are relative to the store; the licence of a mix is unknown, and said to be.
    """
    snapshot, said = released_snapshot(store, entry), entry.statement
    shards = snapshot.with_role("documents")
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "name": f"{entry.corpus}-{entry.dump}",
        "description": _description(entry),
        "conformsTo": CONFORMS_TO,
        "license": "unknown",
        "citeAs": f"Release {entry.number} of corpus {entry.corpus}, SHA-256 {entry.digest}",
        "version": f"{entry.number}.0.0",
        "datePublished": said["released_at"],
        "isLiveDataset": False,
        "distribution": [
            *(_file(shard) for shard in shards),
            {
                "@type": "cr:FileSet",
                "@id": FILES,
                "name": FILES,
                "encodingFormat": PARQUET,
                "includes": [shard.key for shard in shards],
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORDS,
                "name": RECORDS,
                "description": f"{snapshot.ledger.kept:,} documents.",
                "field": [_field(name, *described) for name, described in FIELDS.items()],
            }
        ],
    }


def _context() -> dict[str, Any]:
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "description": {"@container": "@language"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        **{term: f"cr:{term}" for term in _TERMS},
    }


def _description(entry: Release) -> str:
    said = entry.statement
    shares = ", ".join(f"{count:,} {origin}" for origin, count in sorted(said["shares"].items()))
    return (
        f"Release {entry.number} of corpus {entry.corpus}, dump {entry.dump}; snapshot SHA-256 {entry.digest}. "
        f"Passed policy {said['policy_digest']} in state {said['judgement']['state']}. Tokens by origin: {shares}. "
        f"Merkle root over all {said['documents']['tree_size']:,} documents that were looked at: "
        f"{said['documents']['merkle_root']}. Licences and personal data: unknown."
    )


def _file(shard: Shard) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard.sha256,
        "name": shard.key.rpartition("/")[2],
        "contentUrl": shard.key,
        "contentSize": f"{shard.bytes} B",
        "encodingFormat": PARQUET,
        "sha256": shard.sha256,
    }


def _field(name: str, kind: str, meaning: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{name}",
        "name": name,
        "description": meaning,
        "dataType": kind,
        "source": {"fileSet": {"@id": FILES}, "extract": {"column": name}},
    }
