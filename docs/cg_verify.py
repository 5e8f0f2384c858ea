"""Verify a release of collapse_guard without collapse_guard: Python's standard library and openssl, nothing else.

    python -I cg_verify.py FOLDER CORPUS --key signer.pem [--release NUMBER] [--document ID]

FOLDER is what `collapse-guard verify --export-bundle FOLDER` wrote, or the folder of a guard's own store. Exit 0: all
that is listed as proven is; 1: something is not what was signed; 2: wrong use. It follows docs/proof.md. A key that you
give leads to others if the folder's log of keys (trust/) holds it; without that, it alone is trusted.
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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = "https://collapse-guard.dev/release/v2"
RECALL = "https://collapse-guard.dev/recall/v1"
TRUST = "https://collapse-guard.dev/trust/v1"
OVERRIDE = "https://collapse-guard.dev/override/v1"
RELEASABLE = ("OK", "EARLY")
"""States in which nothing needs to be overridden."""
ED25519_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a key in its DER form (RFC 8410)."""
KEY_BYTES = 32
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


@dataclass(frozen=True)
class Key:
    """A public key: its 32 bytes, from when it counts, and, once it is retired, which envelopes alone still count."""

    raw: bytes
    valid_from: datetime | None = None
    signed: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """SHA-256 of the bytes."""
        return sha256(self.raw)

    @property
    def pem(self) -> bytes:
        """The key as openssl reads it."""
        body = base64.b64encode(ED25519_DER + self.raw)
        return b"-----BEGIN PUBLIC KEY-----\n%b\n-----END PUBLIC KEY-----\n" % body

    def counts(self, envelope: bytes, at: datetime | None) -> bool:
        """Whether its signature on an envelope that says this time counts."""
        early = self.valid_from is not None and (at is None or at < self.valid_from)
        return not early and (self.signed is None or sha256(envelope) in self.signed)


Keys = dict[str, Key]


def pem_key(path: Path) -> Key:
    """The key in a PEM file."""
    lines = read(path).decode("ascii", "replace").split("-----")
    try:
        found = base64.b64decode("".join(lines[2].split()), validate=True)
    except (IndexError, ValueError):
        found = b""
    if len(found) != len(ED25519_DER) + KEY_BYTES or not found.startswith(ED25519_DER):
        refuse(f"{path} holds no Ed25519 public key in PEM form")
    return Key(found.removeprefix(ED25519_DER))


def named_key(value: dict[str, str], where: Path) -> Key:
    """The key that an entry names by its digest."""
    try:
        key = Key(base64.b64decode(value["ed25519"], validate=True))
    except (ValueError, KeyError, TypeError):
        refuse(f"{where} names no key")
    if len(key.raw) != KEY_BYTES or value != {"ed25519": base64.b64encode(key.raw).decode(), "keyid": key.name}:
        refuse(f"{where}: key and name do not belong together")
    return key


@dataclass(frozen=True)
class Statement:
    """What was signed, and by which keys whose signatures count."""

    kind: str
    subjects: dict[str, str]
    said: dict[str, Any]
    signers: list[str]

    @property
    def at(self) -> datetime | None:
        """When it says that it was signed."""
        return time_of(self.said)


def time_of(said: dict[str, Any]) -> datetime | None:
    """The time with a zone that a predicate says; none where it says none."""
    try:
        at = datetime.fromisoformat(str(said.get("at", said.get("released_at"))))
    except ValueError:
        return None
    return at if at.tzinfo else None


def parts(envelope: bytes, where: Path) -> tuple[dict[str, Any], bytes, list[tuple[str, bytes]]]:
    """The statement in an envelope, the bytes that were signed, and the signatures, nothing of which is verified."""
    try:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"], validate=True)
        kind = value["payloadType"].encode()
        signatures = [(one["keyid"], base64.b64decode(one["sig"], validate=True)) for one in value["signatures"]]
        statement = dict(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError):
        refuse(f"{where} is no signed statement")
    return statement, b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload), signatures


def verified(envelope: bytes, keys: Keys, where: Path) -> Statement:
    """The statement in an envelope, after openssl found every signature on it to be by one of the keys."""
    statement, signed, signatures = parts(envelope, where)
    right = [name in keys and is_signed(keys[name], signed, signature) for name, signature in signatures]
    if not right or not all(right):
        refuse(f"{where}: no signature on it is by a key that you trust, or one is by another key")
    said = statement["predicate"]
    signers = [name for name, _ in signatures if keys[name].counts(envelope, time_of(said))]
    if not signers:
        refuse(f"{where}: it was signed by key {signatures[0][0][:16]} after that was retired, or before it was valid")
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    return Statement(statement["predicateType"], subjects, said, signers)


def is_signed(key: Key, message: bytes, signature: bytes) -> bool:
    """Whether openssl accepts a signature."""
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder) / name for name in ("inkey", "in", "sigfile")}
        for place, data in zip(places.values(), (key.pem, message, signature), strict=True):
            place.write_bytes(data)
        files = [part for name, place in places.items() for part in (f"-{name}", str(place))]
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", *files]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


# --- the log of trusted keys ---


def trusted_keys(folder: Path, pinned: list[Key]) -> Keys:
    """Your keys and, where the folder's log of keys holds one of them, those that it leads to."""
    entries = sorted((folder / "trust").glob("*.json"))
    if not entries:
        return {key.name: key for key in pinned}
    found = trust_log(entries)
    led = found if any(key.name in found for key in pinned) else {}
    return {**{key.name: key for key in pinned}, **led}


def trust_log(entries: list[Path]) -> Keys:
    """Follow the log: the first entry names a key, every later one is signed by a key that was trusted then."""
    first = read(entries[0])
    key = first_key(entries[0])
    keys, digest = {key.name: key}, sha256(first)
    for number, path in enumerate(entries[1:], start=2):
        envelope = read(path)
        keys = next_keys(keys, digest, number, envelope, path)
        digest = sha256(envelope)
    return keys


def next_keys(keys: Keys, digest: str, number: int, envelope: bytes, path: Path) -> Keys:
    """The keys after an entry: perhaps one more, which signed too, and perhaps one retired."""
    added = added_key(envelope, path)
    anytime = {name: replace(key, valid_from=None) for name, key in {**added, **keys}.items()}
    entry = verified(envelope, anytime, path)
    said, gone = entry.said, entry.said["retire"]
    by = [name for name in entry.signers if name in keys and keys[name].signed is None]
    right = (entry.kind, entry.subjects, said.get("number")) == (TRUST, {"trust": digest}, number)
    vouched = all(name in entry.signers and name not in keys for name in added)
    if not right or not vouched or not any(keys[name].counts(envelope, entry.at) for name in by):
        refuse(f"{path} does not follow the entry before it by a key that was trusted then")
    found = {**keys, **added}
    if gone is not None:
        if gone not in keys:
            refuse(f"{path} retires a key that nobody trusted")
        before, then = keys[gone].signed, frozenset(said["signed"])
        found[gone] = replace(keys[gone], signed=then if before is None else then & before)
    return found


def added_key(envelope: bytes, path: Path) -> Keys:
    """The key that an entry adds, as it says itself."""
    statement, _, _ = parts(envelope, path)
    try:
        value = statement["predicate"]["key"]
        since = datetime.fromisoformat(statement["predicate"]["valid_from"]) if value else None
    except (ValueError, KeyError, TypeError):
        refuse(f"{path} is no entry of trusted keys")
    key = replace(named_key(value, path), valid_from=since) if value else None
    return {key.name: key} if key else {}


def first_key(path: Path) -> Key:
    """The key that a log of keys begins with."""
    try:
        value = json.loads(read(path))
    except ValueError:
        refuse(f"{path} was changed and names no key")
    return named_key(value, path)


def chain(folder: Path, kind: str, predicate: str, corpus: str, keys: Keys) -> list[dict[str, Any]]:
    """A log of statements, each signed and naming the digest of the one before it."""
    found: list[dict[str, Any]] = []
    previous = None
    for number, path in enumerate(sorted((folder / kind / corpus).glob("*.json")), start=1):
        envelope = read(path)
        entry = verified(envelope, keys, path)
        place = (entry.said.get("corpus"), entry.said.get("number"), entry.said.get("previous"))
        if entry.kind != predicate or place != (corpus, number, previous):
            refuse(f"{path} does not follow the entry before it")
        previous = sha256(envelope)
        found.append({**entry.said, "subjects": entry.subjects})
    return found


# --- overrides ---


def closed_by(judged: dict[str, Any]) -> set[str]:
    """The gates that refused a candidate, and `state`."""
    gates = {gate["name"] for gate in judged["gates"] if gate["outside"] == "block" and not gate["passed"]}
    return gates | ({"state"} if judged["state"] not in RELEASABLE else set())


def overrides(release: dict[str, Any], keys: Keys) -> list[dict[str, Any]]:
    """What let a refused candidate pass, each signed for exactly this candidate, this policy and that time."""
    found = [override(told, release, keys) for told in release["overrides"]]
    left = closed_by(release["judgement"]) - {name for said in found for name in said["gates"]}
    if not release["judgement"]["passed"] and (left or not found):
        refuse(f"the statement says that the corpus was refused, and nothing overrides {', '.join(sorted(left))}")
    return found


def override(told: dict[str, str], release: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """What an override says."""
    envelope, where = told["envelope"].encode(), Path(told["key"])
    one = verified(envelope, keys, where)
    snapshot, policy = release["snapshot"], release["judgement"]["policy_digest"]
    if (one.kind, sha256(envelope)) != (OVERRIDE, told["sha256"]):
        refuse(f"{where} is no override, or not the one that was signed")
    if one.subjects != {snapshot["name"]: snapshot["digest"], "policy": policy}:
        refuse(f"{where} is for another candidate or another policy")
    begins, ends = (datetime.fromisoformat(one.said[name]) for name in ("at", "until"))
    if not begins <= datetime.fromisoformat(release["released_at"]) <= ends:
        refuse(f"{where} did not hold when the corpus was released")
    return one.said


def shown(said: dict[str, Any], now: datetime) -> str:
    """An override in one line."""
    lapsed = "; it has lapsed since" if now > datetime.fromisoformat(said["until"]) else ""
    gates, words = ", ".join(said["gates"]), f"by {said['by']} until {said['until']}: {said['because']}"
    return f"OVERRIDDEN: it was refused, and {gates} overridden {words}{lapsed}"


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


def check_documents(folder: Path, release: dict[str, Any]) -> Documents:
    """The leaves are those that were signed, and give the signed ledger and shares."""
    leaves = read(folder / "leaves.jsonl").split(b"\n")[:-1]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    said = release["documents"]
    if (len(leaves), root_of(hashes).hex()) != (said["tree_size"], said["merkle_root"]):
        refuse("the documents in leaves.jsonl are not those that were signed")
    rows = [json.loads(leaf) for leaf in leaves]
    check_counts(rows, release)
    return Documents(leaves, hashes, rows)


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


@dataclass(frozen=True)
class Documents:
    """All leaves: their bytes, their hashes, and what they say."""

    leaves: list[bytes]
    hashes: list[bytes]
    rows: list[dict[str, Any]]

    def prove(self, document: str, said: dict[str, Any]) -> list[str]:
        """Prove every place of a document."""
        found = [self._place(index, said) for index, row in enumerate(self.rows) if row["id"] == document]
        if not found:
            refuse(f"no document has the id {document!r}")
        return found

    def _place(self, index: int, said: dict[str, Any]) -> str:
        path = path_of(self.hashes, index)
        if climb(self.leaves[index], path).hex() != said["merkle_root"]:
            refuse(f"leaf {index} does not lead to the signed root")
        steps = " ".join(sibling.hex() for _, sibling in path)
        return f"document {index} of {said['tree_size']}: {self.leaves[index].decode()}\n    path: {steps}"

    def hold(self, notice: dict[str, Any]) -> bool:
        """Whether something that was recalled is among the released documents."""
        kept = (row for row in self.rows if row["disposition"] == "kept")
        texts = {*notice.get("texts", ())}
        return any(notice["wanted"] in {row["id"], row["source"]} or row["sha256"] in texts for row in kept)


# --- all together ---


def verify(folder: Path, corpus: str, pinned: list[Key], number: int | None, document: str | None) -> list[str]:
    """Verify everything that the folder holds; gives what was proven."""
    keys = trusted_keys(folder, pinned)
    releases = chain(folder, "releases", RELEASE, corpus, keys)
    if not releases or not 1 <= (number or len(releases)) <= len(releases):
        refuse(f"{corpus} has {len(releases)} release(s) here, not the one that was asked for")
    release = releases[(number or len(releases)) - 1]
    snapshot, said = release["snapshot"], release["documents"]
    if sorted(release["subjects"].values()) != sorted([snapshot["digest"], said["merkle_root"]]):
        refuse("the statement is signed, but about something else")
    passed = overrides(release, keys)
    candidate = check_steps(folder, release)
    size = check_shards(folder, candidate["shards"])
    proven = [
        f"release {release['number']} of {corpus} ({release['dump']}), {snapshot['digest']}, signed by a trusted key",
        f"the chain of {len(releases)} release(s), and the manifests and ledgers of {len(release['steps'])} steps",
        f"{len(candidate['shards'])} shards, {size:,} bytes, are the released ones",
    ]
    recalls = chain(folder, "recalls", RECALL, corpus, keys)
    if len(recalls) < release["recalls"]["count"]:
        refuse("a recall notice that the release names is missing")
    documents = check_documents(folder, release) if (folder / "leaves.jsonl").is_file() else None
    closing = [
        one for one in recalls if snapshot["digest"] in one["subjects"].values() or (documents and documents.hold(one))
    ]
    now = datetime.now(UTC)  # noqa: TID251 - a program has no caller to ask for the time
    proven += [shown(said, now) for said in passed]
    proven += [f"RECALLED: {one['wanted']!r} by {one['by']}: {one['reason']}" for one in closing]
    if documents:
        proven.append(f"{said['tree_size']:,} documents, their dispositions and {release['shares']} tokens by origin")
    elif document:
        refuse("a document's place needs leaves.jsonl: use a folder made by `collapse-guard verify --export-bundle`")
    return proven + (documents.prove(document, said) if documents and document else [])


def main() -> int:
    """Read the arguments, verify, print."""
    parser = argparse.ArgumentParser(description="Verify a release of collapse_guard with the standard library.")
    parser.add_argument("folder", type=Path, help="a bundle, or the folder of a guard's store")
    parser.add_argument("corpus", help="the corpus' name")
    parser.add_argument("--key", type=Path, action="append", default=[], help="a public key (PEM) that you trust")
    parser.add_argument("--release", type=int, help="the release's number; by default the newest in the folder")
    parser.add_argument("--document", help="an id whose place to prove")
    asked = parser.parse_args()
    unproven = list(UNPROVEN)
    try:
        keys = [pem_key(path) for path in asked.key] or [first_key(asked.folder / "trust" / "00000001.json")]
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
