from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import traceback
from datetime import date
from pathlib import Path

import pytest

from collapse_guard.errors import PolicyError
from collapse_guard.provenance.watermark.key_ring import KeyRing, check_keys, read_keys

CANARY = 7216548093317
IN_HEX = f"{CANARY:x}"
WORDS = b"<unk>\none\ntwo\nthree\n"
TODAY = date(2026, 8, 1)
PLAIN = "version: 1\nallow_plain_keys: true\nkeys:\n"
ENTRY = "{{id: {id}, scheme: kgw_minhash, vocab_size: 32000, key: {key}}}"


def write(folder: Path, text: str) -> Path:
    path = folder / "ring.yaml"
    path.write_text(text)
    return path


def ring_of(folder: Path, entries: str, environment: dict[str, str] | None = None, head: str = PLAIN) -> KeyRing:
    return read_keys(write(folder, head + entries), environment or {})


def one(folder: Path, secret: str, environment: dict[str, str] | None = None) -> KeyRing:
    entry = "  - " + ENTRY.format(id="ours", key=secret)
    return ring_of(folder, entry, environment, "version: 1\nkeys:\n")


def several(folder: Path, secret: str, environment: dict[str, str]) -> KeyRing:
    entry = f"  - {{id: ours, scheme: synthid_iv, keys: {secret}}}"
    return ring_of(folder, entry, environment, "version: 1\nkeys:\n")


def with_tokenizer(folder: Path, vocab_size: int, digest: str = "", words: bytes = WORDS) -> KeyRing:
    (folder / "words.txt").write_bytes(words)
    return ring_of(
        folder,
        f"  - id: ours\n    scheme: kgw_simple_1\n    key: 977\n    vocab_size: {vocab_size}\n"
        f"    tokenizer: words.txt\n    tokenizer_sha256: '{digest or hashlib.sha256(words).hexdigest()}'\n",
    )


def shows_canary(text: str) -> bool:
    return str(CANARY) in text or IN_HEX in text.lower()


@pytest.mark.parametrize("text", [str(CANARY), hex(CANARY), f"  {CANARY}\n", f"[{CANARY}]", f"0X{IN_HEX.upper()}"])
def test_a_secret_comes_from_the_environment_or_from_a_file_beside_the_ring(tmp_path, text):
    (tmp_path / "secret").write_text(text)
    for secret in ("{env: OUR_KEY}", "{file: secret}"):
        ring = one(tmp_path, secret, {"OUR_KEY": text})
        assert ring.keys[0].key == CANARY


@pytest.mark.parametrize("text", ["1,2,3", "1 2 3", "[1, 2, 0x3]", "1\n2\n3\n", " 1 ,2 , 3"])
def test_several_secrets_are_parted_by_commas_or_blanks(tmp_path, text):
    assert several(tmp_path, "{env: OUR_KEYS}", {"OUR_KEYS": text}).keys[0].keys == (1, 2, 3)


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path):
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf" + b"977")
    assert one(tmp_path, "{file: secret}").keys[0].key == 977


def test_a_secret_that_is_not_there_leaves_the_other_keys(tmp_path):
    missing = "  - " + ENTRY.format(id="a", key="{env: GONE}") + "\n  - " + ENTRY.format(id="b", key="{file: gone}")
    ring = ring_of(tmp_path, missing + "\n  - " + ENTRY.format(id="c", key=977))
    assert [key.key for key in ring.keys] == [None, None, 977]
    first, second, third = check_keys(ring, TODAY)
    assert first.reason == "its secret is missing: the environment variable GONE is not set"
    assert str(second.reason).startswith("its secret is missing: ")
    assert "gone" in str(second.reason)
    assert third.reason == "it names no tokenizer; give `tokenizer` and `tokenizer_sha256`"
    assert not any(check.testable for check in (first, second, third))


def test_a_secret_in_the_ring_needs_a_permission(tmp_path):
    with pytest.raises(PolicyError, match=r"ring.yaml:3: keys.0.key: a secret stands elsewhere") as caught:
        one(tmp_path, str(CANARY))
    assert not shows_canary(str(caught.value))
    with pytest.raises(PolicyError, match="the secret is not part of it"):
        ring_of(
            tmp_path, "  - {id: a, scheme: ff-additive_prf-2-False-977, vocab_size: 99}", head="version: 1\nkeys:\n"
        )
    ring = ring_of(tmp_path, "  - {id: a, scheme: ff-additive_prf-2-False-977, vocab_size: 99}")
    assert (ring.keys[0].scheme, ring.keys[0].key) == ("ff-additive_prf-2-False", 977)


def test_a_misspelt_scheme_is_an_error_and_an_untestable_one_is_not(tmp_path):
    with pytest.raises(PolicyError, match=r"scheme: this scheme is unknown; .*Did you mean 'kgw_selfhash'\?"):
        ring_of(tmp_path, "  - {id: a, scheme: kgw_selfhsh, key: 3, vocab_size: 99}")
    ring = ring_of(tmp_path, "  - {id: a, scheme: sweet, key: 3}")
    (check,) = check_keys(ring, TODAY)
    assert (check.testable, str(check.reason).startswith("sweet cannot be tested: ")) == (False, True)


def test_every_key_needs_an_id_of_its_own(tmp_path):
    with pytest.raises(PolicyError, match="every key needs one"):
        ring_of(tmp_path, "  - {scheme: unigram, key: 3, vocab_size: 99}")
    with pytest.raises(PolicyError, match=r"ring.yaml:5: keys.1.id: 'a' is there already"):
        ring_of(tmp_path, "  - " + ENTRY.format(id="a", key=3) + "\n  - " + ENTRY.format(id="a", key=4))


def test_the_same_key_twice_is_an_error_that_names_both(tmp_path):
    with pytest.raises(PolicyError, match="'b' is the same key as 'a'"):
        ring_of(tmp_path, "  - " + ENTRY.format(id="a", key=3) + "\n  - " + ENTRY.format(id="b", key=3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nkeys: []\n", "version: a key ring of version 1 is expected"),
        ("keys: []\n", "version: a key ring of version 1 is expected"),
        ("version: 1\n", "keys: the ring holds no key"),
        ("version: 1\nkeys: {a: 1}\n", "`keys` must be a list"),
        ("version: 1\nkeyz: []\n", r"ring.yaml:2: keyz: unknown key"),
        ("version: 1\nkeys: [3]\n", "a mapping was expected"),
        ("- version\n", "a mapping was expected"),
        ("version: 1\nkeys:\n  - {id: a}\n", "scheme: it is missing"),
        ("version: 1\nkeys:\n  - {id: a, scheme: unigram, vocab_size: 99}\n", "key: it is missing"),
    ],
)
def test_a_malformed_ring_is_an_error_with_its_line(tmp_path, text, message):
    with pytest.raises(PolicyError, match=message):
        read_keys(write(tmp_path, text), {})


def test_a_ring_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        read_keys(tmp_path / "none.yaml", {})


WRONG_PLACES = [
    f"key: {CANARY}",
    f"key: '{CANARY}'",
    f"key: [{CANARY}]",
    f"key: {CANARY}.5",
    f"key: {{env: {CANARY}}}",
    f"key: {{env: '{CANARY}'}}",
    f"key: {{env: '{IN_HEX}'}}",
    f"key: {{env: OURS, file: '{CANARY}'}}",
    f"key: {{file: {CANARY}}}",
    f"key: {{file: '{CANARY}'}}",
    f"key: {{value: {CANARY}}}",
    f"key: {{{CANARY}: env, {CANARY}: file}}",
    f"key: *{CANARY}",
    f"key: !{CANARY} 3",
    f"key: @{CANARY}",
    f"key: [{CANARY}",
    f'key: "{CANARY}\\q"',
    f"keys: {CANARY}",
    f"keys: {{env: CANARY}}, key: {CANARY}",
    "key: {env: MALFORMED}",
    "key: {env: SEVERAL}",
    "key: {env: HUGE}",
    "key: {env: NEGATIVE}",
    "key: {env: CANARY}, vocab_size: 3, gamma: 0.1",
    "key: {env: CANARY}, gamma: 2",
    "key: {env: CANARY}, context_width: wide",
    "key: {env: CANARY}, gama: 2",
    "key: {env: CANARY}, tokenizer: words.txt",
    "key: {env: CANARY}, valid_from: '2026-13-01'",
    "key: {file: malformed}",
    "key: {file: binary}",
]


@pytest.mark.parametrize("head", ["version: 1\nkeys:\n", PLAIN])
@pytest.mark.parametrize("wrong", WRONG_PLACES)
def test_no_error_shows_a_secret_wherever_it_was_put(tmp_path, head, wrong):
    (tmp_path / "malformed").write_text(f"key={CANARY}")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + str(CANARY).encode("utf-16-le") + str(CANARY).encode())
    environment = {
        "CANARY": str(CANARY),
        "MALFORMED": f"0x{IN_HEX}-{CANARY}",
        "SEVERAL": f"{CANARY}, 3",
        "HUGE": f"{CANARY}{CANARY}",
        "NEGATIVE": f"-{CANARY}",
    }
    size = "" if "vocab_size" in wrong else "vocab_size: 32000, "
    text = f"{head}  - {{id: ours, scheme: kgw_minhash, {size}{wrong}}}\n"
    try:
        ring = read_keys(write(tmp_path, text), environment)
    except PolicyError as error:
        shown = "".join(traceback.format_exception(error))
        assert re.search("ring.yaml:[345]: ", shown)
    else:
        shown = repr(ring) + repr(check_keys(ring, TODAY))
    assert not shows_canary(shown)


def test_nothing_that_a_ring_shows_or_logs_holds_a_secret(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "secret").write_text(hex(CANARY))
    entries = (
        "  - " + ENTRY.format(id="a", key="{env: OURS}") + "\n  - {id: b, scheme: synthid_iv, keys: {file: secret}}\n"
        f"  - {{id: c, scheme: ff-additive_prf-2-False-{CANARY}, vocab_size: 997}}\n"
        f"  - {{id: d, scheme: sweet, key: {CANARY}}}\n"
    )
    ring = ring_of(tmp_path, entries, {"OURS": str(CANARY)})
    logging.getLogger("test").warning("%s %r %s", ring, ring, check_keys(ring, TODAY))
    shown = [caplog.text, repr(ring), str(ring), ring.digest, json.dumps([key.to_json() for key in ring.keys])]
    assert len(ring.keys) == 4
    assert not any(map(shows_canary, shown))


def test_a_changed_secret_changes_the_digest_and_paperwork_does_not(tmp_path):
    ring = with_tokenizer(tmp_path, 4)

    def changed(**fields: object) -> str:
        return dataclasses.replace(ring, keys=(dataclasses.replace(ring.keys[0], **fields),)).digest

    paperwork = {"owner": "us", "valid_until": date(2026, 1, 1), "tokenizer": "elsewhere.txt"}
    assert [changed(**{name: value}) for name, value in paperwork.items()] == [ring.digest] * 3
    others = {"key": 976, "gamma": 0.5, "tokenizer_sha256": "0" * 64, "valid_from": date(2026, 1, 1), "id": "b"}
    digests = {changed(**{name: value}) for name, value in others.items()} | {ring.digest}
    assert len(digests) == 6


def test_a_digest_does_not_depend_on_the_order_of_the_keys(tmp_path):
    ring = ring_of(tmp_path, "".join(f"  - {ENTRY.format(id=name, key=key)}\n" for name, key in (("a", 3), ("b", 4))))
    turned = dataclasses.replace(ring, keys=ring.keys[::-1])
    assert turned.digest == ring.digest


def test_a_key_with_its_tokenizer_is_testable(tmp_path):
    (check,) = check_keys(with_tokenizer(tmp_path, 4), TODAY)
    assert (check.id, check.testable, check.reason, check.warnings) == ("ours", True, None, ())
    assert len(str(check.fingerprint)) == 8


def test_a_padded_vocabulary_is_a_warning_and_one_that_is_too_small_is_not_testable(tmp_path):
    (padded,) = check_keys(with_tokenizer(tmp_path, 8), TODAY)
    assert padded.testable
    assert "`vocab_size` is 8 and its tokenizer has 4 ids" in padded.warnings[0]
    (small,) = check_keys(with_tokenizer(tmp_path, 4, words=WORDS + b"four\n"), TODAY)
    assert (small.testable, small.reason) == (
        False,
        "its tokenizer has 5 ids and `vocab_size` is 4: one of them is wrong",
    )


def test_a_tokenizer_that_is_another_or_gone_is_not_testable(tmp_path):
    (other,) = check_keys(with_tokenizer(tmp_path, 4, "0" * 64), TODAY)
    assert "this is another tokenizer or version" in str(other.reason)
    ring = with_tokenizer(tmp_path, 4, words=b"<unk>\nfive\n")
    (tmp_path / "words.txt").unlink()
    (gone,) = check_keys(ring, TODAY)
    assert "the tokenizer cannot be read" in str(gone.reason)
    with pytest.raises(PolicyError, match=r"tokenizer_sha256: it is missing; write the SHA-256 of words.txt"):
        ring_of(tmp_path, "  - {id: a, scheme: unigram, key: 3, vocab_size: 99, tokenizer: words.txt}")


def test_another_device_is_not_testable(tmp_path):
    ring = ring_of(tmp_path, "  - {id: a, scheme: synthid_table, keys: [3], device: 'cuda:0'}")
    assert "cuda:0, whose random numbers" in str(check_keys(ring, TODAY)[0].reason)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_a_secret_file_that_others_may_read_is_a_warning(tmp_path, mode, warned):
    (tmp_path / "secret").write_text("977")
    (tmp_path / "secret").chmod(mode)
    (check,) = check_keys(one(tmp_path, "{file: secret}"), TODAY)
    assert sum("chmod 600" in warning for warning in check.warnings) == warned


def test_dates_warn_and_do_not_stop_a_test(tmp_path):
    entries = (
        "  - {id: old, scheme: unigram, key: 3, vocab_size: 99, valid_until: 2026-07-31}\n"
        "  - {id: now, scheme: unigram, key: 4, vocab_size: 99, valid_from: 2026-08-01, valid_until: 2026-08-01}\n"
        "  - {id: new, scheme: unigram, key: 5, vocab_size: 99, valid_from: 2026-08-02}\n"
    )
    old, now, new = check_keys(ring_of(tmp_path, entries), TODAY)
    assert "it expired on 2026-07-31" in old.warnings[0]
    assert now.warnings == ()
    assert "it is not valid before 2026-08-02" in new.warnings[0]


@pytest.mark.parametrize(
    ("entry", "warned"),
    [("unigram, vocab_size: 99, key: 15485863", True), ("unigram, vocab_size: 99, key: 977", False),
     ("synthid_iv, keys: [654, 400, 836]", True), ("synthid_iv, keys: [654, 400, 837]", False)],
)  # fmt: skip
def test_a_secret_that_references_publish_is_a_warning(tmp_path, entry, warned):
    (check,) = check_keys(ring_of(tmp_path, f"  - {{id: a, scheme: {entry}}}"), TODAY)
    assert any("anybody can find and forge" in warning for warning in check.warnings) == warned
