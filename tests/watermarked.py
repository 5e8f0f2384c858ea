"""Texts of made-up words, marked and unmarked, with a vocabulary and a key ring to find them again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from canary import ALLOWED, SECRET

from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.schemes import Scorer

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.provenance.watermark.keys import Key

WORDS = ("<unk>", *(f"w{number}" for number in range(1, 1000)))


def vocabulary(folder: Path) -> dict[str, str]:
    """Write the vocabulary; gives the fields of a key that name it."""
    path = folder / "vocabulary.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return {"tokenizer": path.name, "tokenizer_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def write_ring(folder: Path, *entries: dict[str, Any]) -> Path:
    """Write a key ring whose secrets stand in files beside it."""
    tokenizer = vocabulary(folder)
    keys = [{"id": f"k{number}", **tokenizer, **entry} for number, entry in enumerate(entries)]
    path = folder / "keys.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "keys": [_hidden(folder, key) for key in keys]}), encoding="utf-8")
    return path


def _hidden(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(entry["key"], int):
        return entry
    path = folder / f"{entry['id']}{ALLOWED}"
    path.touch(mode=0o600)
    path.write_text(f"{entry['key']}\n", encoding="utf-8")
    return entry | {"key": {"file": path.name}}


def green(secret: int = SECRET) -> dict[str, Any]:
    """An entry of a ring that marks by green lists seeded by one word."""
    return {"scheme": "kgw_simple_1", "key": secret, "vocab_size": len(WORDS)}


def plain_words(count: int, seed: int) -> list[int]:
    """Draw word ids."""
    return np.random.default_rng(seed).integers(1, len(WORDS), count).tolist()


def marked_words(count: int, seed: int, entry: dict[str, Any], candidates: int = 4) -> list[int]:
    """Draw word ids, of several candidates the one that the key scores highest."""
    key: Key = complete(entry)
    scorer, random = Scorer(key), np.random.default_rng(seed)
    reach = max(key.context_width or 1, (key.ngram_len or 2) - 1)
    ids = random.integers(1, len(WORDS), reach).tolist()
    while len(ids) < count + reach:
        offered = random.integers(1, len(WORDS), candidates)
        rows = np.array([[*ids[-reach:], word] for word in offered.tolist()])
        values = scorer.score(rows.ravel(), np.arange(candidates + 1) * (reach + 1), "none").values
        ids.append(int(offered[values.reshape(candidates, reach + 1)[:, -1].argmax()]))
    return ids[reach:]


def text_of(ids: list[int]) -> str:
    """Write word ids out."""
    return " ".join(WORDS[number] for number in ids)
