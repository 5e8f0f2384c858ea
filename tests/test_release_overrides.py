from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import AT, KEY, OTHER_KEY, flipped, overwrite
from provable import RULES, Provable, public_pem

from collapse_guard import attestation
from collapse_guard.attestation import rotate
from collapse_guard.bundle import export_bundle
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError
from collapse_guard.judge import Finding, GateResult, Judgement, findings, keep_judgement, states
from collapse_guard.mix import Leaks
from collapse_guard.recall import recall
from collapse_guard.release import PREDICATE as RELEASE
from collapse_guard.release import override, overrides, read_overrides
from collapse_guard.release.chain import subjects_of as release_subjects
from collapse_guard.release.overrides import LONGEST, NEEDED, PREDICATE, subjects_of
from collapse_guard.snapshot import latest
from collapse_guard.verify import verify_release

if TYPE_CHECKING:
    from collapse_guard.snapshot import Snapshot

VERIFIER = Path(__file__).parents[1] / "docs" / "cg_verify.py"
FIRST, SECOND = (f"attestations/overrides/web/{number:08d}.json" for number in (1, 2))
RELEASED = "releases/web/00000001.json"
DAY = timedelta(days=1)
SAID: dict[str, Any] = {"by": "the data desk", "because": "a known change of the crawl", "key": KEY, "at": AT}
BOTH = ("rare_coverage", "state")


def gate(name: str, value: float | None, outside: str = "block", *, passed: bool = False) -> GateResult:
    outcome = "inside" if passed else "unmeasured" if value is None else "outside"
    bounds = {"low": 0.5, "high": None, "relative": True, "measured": value, "baseline": 1.0}
    return GateResult(name=name, metric=name, value=value, passed=passed, outside=outside, outcome=outcome, **bounds)


MEASURED = tuple(Finding(name, "tail", 0.4, 1.0, 0.1, 0.4, 0.3, 0.5, -6.0, 0.01, 9.0) for name in NEEDED)
GATES = (gate("rare_coverage", 0.4), gate("distinct_2", 0.9, passed=True), gate("early", 0.8, "warn"))


@dataclass
class Refused(Provable):
    """A guard whose judge refuses with what a test wants."""

    said: dict[str, Any] = field(default_factory=dict)

    def judge(self, store, candidate, _reservoir, rules):
        self.judged.append(candidate.digest)
        facts = {"state": "LATE", "reasons": ("the test says so",), "gates": GATES, "findings": MEASURED} | self.said
        measured = {"remedy": None, "metrics": {}, "baseline": {}, "sampled_tokens": 9}
        judgement = Judgement(candidate.digest, rules.digest, **facts, **measured)
        keep_judgement(store, candidate, judgement)
        return judgement

    def refuse(self, **said: Any) -> Snapshot:
        """A candidate that was judged and refused."""
        self.said = said
        candidate = latest(self.store, "web/candidate/2026-01")
        self.judge(self.store, candidate, None, self.rules)
        return candidate

    def override(self, candidate: Snapshot, *gates: str, **said: Any):
        return override(self.store, candidate, gates=gates or BOTH, **{"until": AT + 9 * DAY, **SAID, **said})

    def log(self):
        return read_overrides(self.store, "web", self.keys())

    def quietly_open(self, **options: Any):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.open(**options)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Where a candidate was mixed; copied, never changed."""
    made = Refused(tmp_path_factory.mktemp("mixed"))
    made.candidate()
    return made.folder


@pytest.fixture
def guard(mixed, tmp_path, monkeypatch) -> Refused:
    shutil.copytree(mixed, tmp_path / "copy")
    made = Refused(tmp_path / "copy")
    monkeypatch.setattr("collapse_guard.release.publishing.judge", made.judge)
    return made


@pytest.fixture
def refused(guard) -> Snapshot:
    return guard.refuse()


def sign_first(guard, candidate, key=KEY, kind=PREDICATE, **change):
    """Put a statement into the log by hand, as somebody with that key could."""
    attestation.trust(guard.store, KEY.public)
    said = {
        "corpus": "web", "dump": "2026-01", "snapshot": vars(candidate.as_parent()), "policy_digest": RULES.digest,
        "gates": list(BOTH), "by": "me", "because": "why not", "number": 1, "previous": None, "at": AT.isoformat(),
        "until": (AT + DAY).isoformat(),
    } | change  # fmt: skip
    guard.store.put_if_absent(FIRST, attestation.sign(key, subjects_of(said), kind, said))


def test_an_overridden_candidate_is_released_as_what_it_is(guard, refused):
    signed = guard.override(refused)

    entry = guard.release(refused, at=AT + DAY)

    said = entry.statement
    assert (said["judgement"]["passed"], said["judgement"]["state"]) == (False, "LATE")
    assert said["overrides"] == [{"key": FIRST, "sha256": signed.sha256, "envelope": guard.store.read(FIRST).decode()}]
    assert entry.overrides == (signed,) == guard.chain()[0].overrides
    assert guard.release(refused, at=AT + 80 * DAY) == entry
    assert guard.quietly_open().overrides == (signed,)


def test_an_override_says_who_why_until_and_for_exactly_what(guard, refused):
    signed = guard.override(refused, "state", "rare_coverage", "state")

    statement = attestation.verify(guard.store.read(FIRST), KEY.public, "here")
    assert statement.subjects == {refused.name: refused.digest, "policy": RULES.digest}
    assert json.loads(json.dumps(signed.to_json(AT))) == {
        "key": FIRST, "number": 1, "name": refused.name, "digest": refused.digest, "policy_digest": RULES.digest,
        "gates": list(BOTH), "by": "the data desk", "because": "a known change of the crawl",
        "at": "2026-01-01T00:00:00+00:00", "until": "2026-01-10T00:00:00+00:00", "lapsed": False,
        "sha256": signed.sha256,
    }  # fmt: skip
    assert signed.to_json()["lapsed"] is None


def test_opening_an_overridden_release_warns_and_says_when_it_has_lapsed(guard, refused):
    guard.override(refused)
    guard.release(refused)

    told = (
        r"release 1 did not pass: rare_coverage, state overridden by the data desk until 2026-01-10.* \(a known change"
    )
    with pytest.warns(UserWarning, match=told) as warned:
        guard.open(at=AT + DAY)
    assert "lapsed" not in str(warned[0].message)
    with pytest.warns(UserWarning, match="it has lapsed since"):
        assert guard.open(at=AT + 10 * DAY).to_arrow().num_rows


def test_several_overrides_may_cover_what_is_closed(guard, refused):
    guard.override(refused, "state")
    with pytest.raises(GateClosed, match="Still closed: rare_coverage is not overridden"):
        guard.release(refused)

    guard.override(refused, "rare_coverage", by="the tail desk")

    assert [one.by for one in guard.release(refused).overrides] == ["the data desk", "the tail desk"]
    assert [one.number for one in guard.log()] == [1, 2]


def test_without_an_override_it_is_refused_as_before(guard, refused):
    with pytest.raises(GateClosed, match="the test says so") as closed:
        guard.release(refused)

    assert "verrid" not in str(closed.value)
    assert list(guard.store.list("releases/")) == []


def test_a_candidate_that_passes_reads_no_override(guard):
    candidate = guard.refuse(state="OK", gates=())
    sign_first(guard, candidate, key=OTHER_KEY)

    assert guard.release(candidate).statement["overrides"] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert guard.open().overrides == ()


TOO_CLOSE = {"state": "INCONCLUSIVE", "reasons": ("too close to late collapse to tell",)}
UNMEASURED = {"state": "INCONCLUSIVE", "findings": (), "reasons": ("too few documents",)}
SHARELESS = {"gates": (gate("human_share", None), gate("rare_coverage", 0.4))}
TWICE = {"gates": (gate("rare_coverage", 0.4), gate("state", 0.2))}


def test_a_state_that_was_too_close_to_tell_can_be_overridden(guard):
    candidate = guard.refuse(**TOO_CLOSE)
    guard.override(candidate)

    assert guard.release(candidate).statement["judgement"]["state"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("found", "name", "why"),
    [
        (
            UNMEASURED,
            "state",
            "nothing is known of the corpus: distinct_2, heldout_perplexity, rare_coverage could not",
        ),
        (SHARELESS, "human_share", "the human share could not be measured"),
        (TWICE, "state", "the policy calls a gate `state` as well"),
    ],
)
def test_what_could_not_be_measured_can_never_be_overridden(guard, found, name, why):
    candidate = guard.refuse(**found)

    with pytest.raises(UsageError, match=f"{name} of {candidate.digest[:12]} can never be overridden: {why}"):
        guard.override(candidate, name)

    names = sorted({"state", *(one.name for one in found.get("gates", GATES))})
    sign_first(guard, candidate, gates=names)
    with pytest.raises(GateClosed, match=f"Still closed: {name} can never be overridden: {why}"):
        guard.release(candidate)


def test_a_leak_of_the_evaluation_split_is_never_passed(guard, refused, monkeypatch):
    guard.override(refused)
    monkeypatch.setattr("collapse_guard.release.overriding.find_leaks", lambda *_: Leaks(80, 30, 1, ("stolen",)))

    with pytest.raises(GateClosed, match=r"No override lets this pass: .* 1 leaked \(first: stolen\)"):
        guard.release(refused)


def test_damaged_bytes_and_recalled_documents_are_never_passed(guard, refused):
    guard.override(refused)
    path = guard.path(refused.shards[0].key)
    whole = path.read_bytes()
    overwrite(path, flipped(whole, 100))
    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        guard.release(refused)
    overwrite(path, whole)
    guard.release(refused)
    recall(guard.store, "pages.jsonl", reason="takedown", by="the legal desk", key=KEY, at=AT)

    with pytest.raises(GateClosed, match="holds what was recalled"):
        guard.release(refused)
    with pytest.raises(GateClosed, match="was recalled"):
        guard.quietly_open()


def test_a_ledger_that_the_rows_do_not_give_is_never_passed(guard, refused):
    guard.override(refused)
    for step in ("sifted", "measured"):
        manifest = next(Path(guard.store.root).glob(f"snapshots/web/{step}/2026-01/*.json"))
        text = manifest.read_text(encoding="utf-8")
        overwrite(manifest, text.replace('"in":41', '"in":42').encode())

    with pytest.raises(DamagedDataError, match=r"missing|changed|balance"):
        guard.release(refused)
    assert list(guard.store.list("releases/")) == []


@pytest.mark.parametrize(
    ("gates", "change", "why"),
    [
        (("rare_coverag",), {}, r"gate 'rare_coverag' is unknown .* Did you mean 'rare_coverage'\?"),
        (("distinct_2",), {}, "distinct_2 is open for .* nothing to override; closed: rare_coverage, state"),
        (("early",), {}, "early only warns for"),
        (BOTH, {"because": " "}, "must say who overrides, and why"),
        (BOTH, {"by": ""}, "must say who overrides, and why"),
        (BOTH, {"until": AT}, "must end after it begins"),
        (BOTH, {"until": AT + LONGEST + DAY}, "must end within 90 days, and was to last 91"),
        (BOTH, {"until": datetime(2026, 1, 5)}, "its times must have a zone"),  # noqa: DTZ001 - what is refused
        ((), {"gates": ()}, "must name at least one gate"),
    ],
)
def test_an_override_that_nobody_could_judge_is_not_signed(guard, refused, gates, change, why):
    with pytest.raises(UsageError, match=why):
        override(guard.store, refused, **{"gates": gates, "until": AT + DAY, **SAID, **change})

    assert list(guard.store.list("attestations/")) == []


def test_only_what_was_judged_can_be_overridden(guard):
    with pytest.raises(UsageError, match="was not judged, or is not the newest of its dump"):
        guard.override(latest(guard.store, "web/candidate/2026-01"))


def test_a_key_that_the_store_does_not_trust_signs_no_override(guard, refused):
    attestation.trust(guard.store, KEY.public)

    with pytest.raises(UsageError, match="signatures here must be by key"):
        guard.override(refused, key=OTHER_KEY)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"until": (AT + timedelta(hours=1)).isoformat()}, "lapsed at 2026-01-01T01:00"),
        ({"at": (AT + 3 * DAY).isoformat(), "until": (AT + 4 * DAY).isoformat()}, "holds from 2026-01-04T00:00"),
        ({"snapshot": {"name": "web/candidate/2026-01", "digest": "ab" * 32}}, "is for candidate abababababab"),
        ({"policy_digest": "cd" * 32}, "is for policy cdcdcdcdcdcd"),
    ],
)
def test_an_override_for_another_time_candidate_or_policy_is_named_and_not_followed(guard, refused, change, why):
    sign_first(guard, refused, **change)

    with pytest.raises(GateClosed, match=rf"do not let it pass: {FIRST} \(by me\) {why}"):
        guard.release(refused, at=AT + DAY)
    assert list(guard.store.list("releases/")) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"key": OTHER_KEY}, "no signature on it is by the trusted key"),
        ({"kind": RELEASE}, "is signed, but is no override"),
        ({"because": " "}, "lets nothing pass: it must say who overrides"),
        ({"until": (AT + 91 * DAY).isoformat()}, "lets nothing pass: it must end within 90 days"),
        ({"number": 2}, "does not follow the override before it"),
        ({"previous": "ab" * 32}, "does not follow the override before it"),
    ],
)
def test_a_forged_override_is_refused_and_named(guard, refused, change, why):
    sign_first(guard, refused, **change)

    with pytest.raises(DamagedDataError, match=f"{FIRST}.* {why}"):
        guard.release(refused)


def test_a_changed_unsigned_or_removed_override_is_refused(guard, refused):
    guard.override(refused, "state")
    guard.override(refused, "rare_coverage")
    path, whole = guard.path(FIRST), guard.store.read(FIRST)
    for place in range(10, len(whole), len(whole) // 12):
        overwrite(path, flipped(whole, place))
        with pytest.raises(DamagedDataError):
            guard.release(refused)
    overwrite(path, b"{}")
    with pytest.raises(DamagedDataError, match=f"{FIRST} is no signed statement"):
        guard.release(refused)
    path.unlink()
    with pytest.raises(DamagedDataError, match="was removed or moved"):
        guard.release(refused)
    assert list(guard.store.list("releases/")) == []


def test_an_override_is_not_passed_on_to_other_bytes(guard, refused):
    guard.override(refused)
    later = guard.candidate("2026-02")

    with pytest.raises(GateClosed, match=f"is for candidate {refused.digest[:12]}"):
        guard.release(later)


def test_what_a_retired_key_signed_lets_nothing_new_pass_and_keeps_what_was_released(guard, refused):
    guard.override(refused)
    guard.release(refused)
    rotate(guard.store, KEY, AT + DAY, "stolen", new=OTHER_KEY, retire=KEY.public.keyid)
    other = replace(RULES, name="other")
    guard.rules = other

    assert guard.quietly_open().overrides[0].by == "the data desk"
    with pytest.raises(GateClosed, match=f"{FIRST} .* key {KEY.public.keyid[:16]}, which is retired"):
        guard.release(refused, key=OTHER_KEY, at=AT + 2 * DAY)


def lie(guard, **change):
    """Put a release there that the trusted key signed, but that says something else about overrides."""
    said = {**guard.chain()[0].statement, **change}
    overwrite(guard.path(RELEASED), attestation.sign(KEY, release_subjects(said), RELEASE, said))


def test_a_refused_release_without_what_let_it_pass_does_not_open(guard, refused, tmp_path):
    guard.override(refused, "state")
    guard.override(refused, "rare_coverage")
    guard.release(refused)
    whole = guard.chain()[0].statement
    one, other = whole["overrides"]
    attacks = {
        "refused|not overridden": {"overrides": []},
        "rare_coverage is not overridden": {"overrides": [one]},
        "no signature on it|no signed statement": {"overrides": [one, {**other, "envelope": other["envelope"][:-9]}]},
        "is not what was signed": {"overrides": [one, {**other, "sha256": "ab" * 32}]},
        "lapsed at": {"released_at": (AT + 30 * DAY).isoformat()},
        "holds from": {"released_at": (AT - DAY).isoformat()},
    }
    for why, change in attacks.items():
        lie(guard, **change)
        with pytest.raises(DamagedDataError, match=why):
            guard.open()
        assert "NOT PROVEN" in check(guard.store.root, public_pem(tmp_path / "key.pem"), code=1)
        overwrite(guard.path(RELEASED), attestation.sign(KEY, release_subjects(whole), RELEASE, whole))


def check(folder, key, code=0):
    command = [sys.executable, "-I", str(VERIFIER), str(folder), "web", "--key", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_verify_and_the_single_file_say_what_was_overridden(guard, refused, tmp_path):
    signed = guard.override(refused)
    entry = guard.release(refused)

    told = verify_release(guard.store, entry, guard.keys()).to_json(AT + 10 * DAY)
    export_bundle(guard.store, entry, guard.keys(), tmp_path / "bundle")
    said = check(tmp_path / "bundle", public_pem(tmp_path / "key.pem"))

    assert (told["passed"], told["overrides"]) == (False, [signed.to_json(AT + 10 * DAY)])
    assert told["overrides"][0]["lapsed"]
    wanted = "OVERRIDDEN: it was refused, and rare_coverage, state overridden by the data desk until 2026-01-10"
    assert wanted in said
    assert "a known change of the crawl" in said


class Meanwhile:
    """A store where somebody else overrides just before an override is put."""

    def __init__(self, store, action):
        self._store, self._actions = store, [action]

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_if_absent(self, key, data):
        if key.startswith("attestations/") and self._actions:
            self._actions.pop()()
        return self._store.put_if_absent(key, data)


def test_two_overrides_at_once_stand_one_after_the_other(guard, refused):
    quiet = guard.store
    theirs = {"gates": BOTH, "until": AT + DAY, **SAID, "by": "they"}
    guard.store = Meanwhile(quiet, lambda: override(quiet, refused, **theirs))

    assert guard.override(refused).number == 2
    assert [one.by for one in guard.log()] == ["they", "the data desk"]


def test_opening_knows_the_judges_own_words():
    assert findings.OPEN == overrides.OPEN
    assert states.NEEDED == overrides.NEEDED
