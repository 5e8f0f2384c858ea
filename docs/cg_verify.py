"""Verify a release of collapse_guard without collapse_guard: Python's standard library and openssl, nothing else.

    python -I cg_verify.py FOLDER CORPUS --key signer.pem [--release NUMBER] [--document ID]

FOLDER is what `collapse-guard verify --export-bundle FOLDER` wrote, or the folder of a guard's own store. Exit 0: all
that is listed as proven is; 1: something is not what was signed; 2: wrong use. It follows docs/proof.md.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = "https://collapse-guard.dev/release/v2"
RECALL = "https://collapse-guard.dev/recall/v1"
ED25519_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a key in its DER form (RFC 8410)."""
UNPROVEN = (
    "that this is the newest release: whoever can write to a store can take the newest ones away",
    "that a text was written by a human: origins are what evidence said under the named policy",
    "that the measured numbers are right: they are signed, not measured again",
)


class ProofError(Exception):
    """Something is not what was signed."""


def refuse(why: str) -> NoReturn:
    """End the verification."""
    raise ProofError(why)


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read(path: Path) -> bytes:
    """A file's bytes."""
    if not path.is_file():
        refuse(f"{path} is missing")
    return path.read_bytes()


# --- signatures (DSSE v1 around an in-toto Statement v1, Ed25519) ---


def statement(envelope: bytes, keys: list[Path], where: Path) -> dict[str, Any]:
    """The statement in an envelope, after openssl found a signature on it by one of the keys."""
    try:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"], validate=True)
        kind = value["payloadType"].encode()
        signatures = [base64.b64decode(entry["sig"], validate=True) for entry in value["signatures"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        refuse(f"{where} is no signed statement")
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    if not any(is_signed(key, signed, signature) for key in keys for signature in signatures):
        refuse(f"{where}: no signature on it is by a key that you trust")
    return dict(json.loads(payload))


def is_signed(key: Path, message: bytes, signature: bytes) -> bool:
    """Whether openssl accepts a signature."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"in": Path(folder) / "message", "sigfile": Path(folder) / "signature"}
        places["in"].write_bytes(message)
        places["sigfile"].write_bytes(signature)
        files = [part for name, place in places.items() for part in (f"-{name}", str(place))]
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key), *files]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def own_key(folder: Path, into: Path) -> Path:
    """The key that the folder itself names first, as PEM."""
    raw = base64.b64decode(json.loads(read(folder / "trust" / "00000001.json"))["ed25519"])
    body = base64.b64encode(ED25519_DER + raw).decode()
    path = into / "own.pem"
    path.write_text(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n", encoding="ascii")
    return path


def chain(folder: Path, kind: str, predicate: str, corpus: str, keys: list[Path]) -> list[dict[str, Any]]:
    """A log of statements, each signed and naming the digest of the one before it."""
    found: list[dict[str, Any]] = []
    previous = None
    for number, path in enumerate(sorted((folder / kind / corpus).glob("*.json")), start=1):
        envelope = read(path)
        said = statement(envelope, keys, path)
        told = said["predicate"]
        place = (told.get("corpus"), told.get("number"), told.get("previous"))
        if said["predicateType"] != predicate or place != (corpus, number, previous):
            refuse(f"{path} does not follow the entry before it")
        previous = sha256(envelope)
        found.append({**told, "subjects": {one["name"]: one["digest"]["sha256"] for one in said["subject"]}})
    return found


# --- manifests and shards ---


def manifest(folder: Path, name: str, digest: str) -> dict[str, Any]:
    """The manifest of a snapshot, found by its digest."""
    for path in sorted((folder / "snapshots" / name).glob("*.json")):
        data = read(path)
        if sha256(data) == digest:
            return dict(json.loads(data))
    refuse(f"the manifest {digest} of {name} is missing or was changed")


def balances(ledger: dict[str, Any]) -> bool:
    """Whether every document that came in is accounted for."""
    parts = [ledger["kept"], ledger["review"], *ledger["dropped"].values(), *ledger["quarantined"].values()]
    return bool(sum(parts) == ledger["in"] and min(parts) >= 0)


def check_steps(folder: Path, release: dict[str, Any]) -> dict[str, Any]:
    """Every step's manifest is the one that was signed, with its ledger; gives that of the released candidate."""
    for step in release["steps"]:
        found = manifest(folder, step["name"], step["digest"])
        if found["ledger"] != step["ledger"] or not balances(step["ledger"]):
            refuse(f"{step['name']}: the signed ledger is not the manifest's, or does not balance")
    return manifest(folder, release["snapshot"]["name"], release["snapshot"]["digest"])


def check_shards(folder: Path, shards: list[dict[str, Any]]) -> int:
    """Hash every shard; gives the number of bytes."""
    for shard in shards:
        digest, size = hashlib.sha256(), 0
        read_ok = (folder / shard["key"]).is_file()
        for block in blocks(folder / shard["key"]) if read_ok else ():
            digest.update(block)
            size += len(block)
        if not read_ok or (digest.hexdigest(), size) != (shard["sha256"], shard["bytes"]):
            refuse(f"{shard['key']} is missing or was changed")
    return sum(shard["bytes"] for shard in shards)


def blocks(path: Path) -> Iterator[bytes]:
    """A file in pieces of 1 MiB."""
    with path.open("rb") as file:
        while block := file.read(2**20):
            yield block


# --- the tree of documents (RFC 6962) ---


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def level_above(level: list[bytes]) -> list[bytes]:
    """Pair neighbours; the last of an odd number goes up as it is."""
    pairs = zip(level[::2], level[1::2], strict=False)
    above = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return above + level[len(above) * 2 :]


def root_of(level: list[bytes]) -> bytes:
    """The root over hashes of leaves."""
    while len(level) > 1:
        level = level_above(level)
    return level[0] if level else hashlib.sha256().digest()


def path_of(level: list[bytes], index: int) -> list[tuple[bool, bytes]]:
    """The hashes beside the way from a leaf to the root, and whether each stands on the left."""
    path = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append((bool(index & 1), level[index ^ 1]))
        level, index = level_above(level), index // 2
    return path


def climb(leaf: bytes, path: list[tuple[bool, bytes]]) -> bytes:
    """The root that a leaf and a path lead to."""
    found = leaf_hash(leaf)
    for on_the_left, sibling in path:
        found = hashlib.sha256(b"\x01" + (sibling + found if on_the_left else found + sibling)).digest()
    return found


def check_documents(folder: Path, release: dict[str, Any], document: str | None) -> list[str]:
    """The leaves are those that were signed, and give the signed ledger and shares; proves the place of a document."""
    leaves = read(folder / "leaves.jsonl").split(b"\n")[:-1]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    said = release["documents"]
    if (len(leaves), root_of(hashes).hex()) != (said["tree_size"], said["merkle_root"]):
        refuse("the documents in leaves.jsonl are not those that were signed")
    rows = [json.loads(leaf) for leaf in leaves]
    check_counts(rows, release)
    return [prove(leaves, hashes, index, said) for index, row in enumerate(rows) if row["id"] == document]


def check_counts(rows: list[dict[str, Any]], release: dict[str, Any]) -> None:
    """Count dispositions and add up tokens, and compare with what was signed."""
    shares: Counter[str] = Counter()
    found: dict[str, Counter[str]] = {"kept": Counter(), "review": Counter(), "dropped": Counter()}
    for row in rows:
        found.get(row["disposition"], Counter())[row["reason"] or ""] += 1
        if row["disposition"] == "kept":
            shares[row["origin"]] += row["tokens"]
    steps = [step["ledger"] for step in release["steps"] if step["kind"] != "documents"]
    dropped = sum((Counter(ledger["dropped"]) for ledger in steps), Counter())
    review = sum(ledger["review"] for ledger in steps)
    if dict(shares) != release["shares"]:
        refuse(f"the shares are signed as {release['shares']} and the documents give {dict(shares)}")
    if found["kept"].total() != release["ledger"]["kept"] or found["review"].total() != review:
        refuse("the documents that were kept or sent to review are not as many as the signed ledgers say")
    if found["dropped"] != dropped:
        refuse("the documents that were dropped are not those that the signed ledgers count")


def prove(leaves: list[bytes], hashes: list[bytes], index: int, said: dict[str, Any]) -> str:
    """Prove the place of one document."""
    path = path_of(hashes, index)
    if climb(leaves[index], path).hex() != said["merkle_root"]:
        refuse(f"leaf {index} does not lead to the signed root")
    steps = " ".join(sibling.hex() for _, sibling in path)
    return f"document {index} of {said['tree_size']}: {leaves[index].decode()}\n    path: {steps}"


# --- all together ---


def verify(folder: Path, corpus: str, keys: list[Path], number: int | None, document: str | None) -> list[str]:
    """Verify everything that the folder holds; gives what was proven."""
    releases = chain(folder, "releases", RELEASE, corpus, keys)
    if not releases or not 1 <= (number or len(releases)) <= len(releases):
        refuse(f"{corpus} has {len(releases)} release(s) here, not the one that was asked for")
    release = releases[(number or len(releases)) - 1]
    snapshot, said = release["snapshot"], release["documents"]
    if sorted(release["subjects"].values()) != sorted([snapshot["digest"], said["merkle_root"]]):
        refuse("the statement is signed, but about something else")
    if not release["judgement"]["passed"]:
        refuse("the statement says that the corpus was refused")
    candidate = check_steps(folder, release)
    size = check_shards(folder, candidate["shards"])
    proven = [
        f"release {release['number']} of {corpus} ({release['dump']}), {snapshot['digest']}, signed by a key you named",
        f"the chain of {len(releases)} release(s), and the manifests and ledgers of {len(release['steps'])} steps",
        f"{len(candidate['shards'])} shards, {size:,} bytes, are the released ones",
    ]
    recalls = chain(folder, "recalls", RECALL, corpus, keys)
    if len(recalls) < release["recalls"]["count"]:
        refuse("a recall notice that the release names is missing")
    recalled = [one for one in recalls if snapshot["digest"] in one["subjects"].values()]
    proven += [f"RECALLED: {one['wanted']!r} by {one['by']}: {one['reason']}" for one in recalled]
    if (folder / "leaves.jsonl").is_file():
        found = check_documents(folder, release, document)
        proven.append(f"{said['tree_size']:,} documents, their dispositions and {release['shares']} tokens by origin")
        if document and not found:
            refuse(f"no document has the id {document!r}")
        return proven + found
    if document:
        refuse("a document's place needs leaves.jsonl: use a folder made by `collapse-guard verify --export-bundle`")
    return proven


def main() -> int:
    """Read the arguments, verify, print."""
    parser = argparse.ArgumentParser(description="Verify a release of collapse_guard with the standard library.")
    parser.add_argument("folder", type=Path, help="a bundle, or the folder of a guard's store")
    parser.add_argument("corpus", help="the corpus' name")
    parser.add_argument("--key", type=Path, action="append", default=[], help="the signer's public key (PEM)")
    parser.add_argument("--release", type=int, help="the release's number; by default the newest in the folder")
    parser.add_argument("--document", help="an id whose place to prove")
    asked = parser.parse_args()
    unproven = list(UNPROVEN)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            keys = asked.key or [own_key(asked.folder, Path(scratch))]
            proven = verify(asked.folder, asked.corpus, keys, asked.release, asked.document)
        except ProofError as error:
            print(f"NOT PROVEN: {error}")
            return 1
    if not asked.key:
        unproven.append("who signed: the key was taken from the folder itself; give --key with a key that you trust")
    if not (asked.folder / "leaves.jsonl").is_file():
        unproven.append("the documents, their dispositions and the shares: there is no leaves.jsonl in the folder")
    print("\n".join([*(f"proven: {line}" for line in proven), *(f"not proven: {line}" for line in unproven)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
