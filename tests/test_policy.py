from __future__ import annotations

import dataclasses
import math
import random
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collapse_guard.errors import PolicyError
from collapse_guard.policy import POOL_KINDS, Bound, Gate, Judging, Mix, Pack, Policy, Rule
from collapse_guard.policy_file import read_policy
from collapse_guard.yaml_lines import suggest

GATES = "gates: {human_share: {low: 0.1, outside: block}}\n"
WHOLE = """\
name: whole
packs: [short@1, mine.yaml]
rules:
  - {name: not_english, signal: {kind: language, languages: [en]}, low: 0.5, outside: drop}
  - {signal: words, low: 10, high: 1000, outside: review}
mix: {human_share: 0.4, tokens: 5000, max_epochs: 2, on_exhausted: repeat, seed: 7}
judging: {tokens: 2000, draws: 30}
gates:
  human_share: {low: 0.1, outside: block}
  target: {metric: human_share, low: 0.3, high: 0.9, outside: warn}
  rare: {relative: true, low: 0.5, outside: block}
"""
PACK = """\
name: mine
version: 2
source: made for this test
rules:
  - {signal: words, high: 99, outside: drop}
"""


class Names:
    """Two signals, three metrics and one pack; what exists is not the business of a policy."""

    def __init__(self, folder):
        self._folder = folder

    def check_signal(self, reference):
        kind = reference if isinstance(reference, str) else reference.get("kind")
        if kind not in {"words", "language"}:
            raise ValueError(f"signal {kind!r} is unknown; " + suggest(str(kind), ["language", "words"]))

    def check_metric(self, name):
        known = ["distinct_2", "human_share", "rare"]
        if name not in known:
            raise ValueError(f"metric {name!r} is unknown; " + suggest(name, known))

    def built_in_packs(self):
        return {"short@1": self._folder / "built_in" / "short@1.yaml"}


@pytest.fixture
def read(tmp_path):
    """Read a policy, or what a file of that name holds, beside a pack `mine.yaml`."""
    (tmp_path / "built_in").mkdir()
    built_in = PACK.replace("mine", "short").replace("version: 2", "version: 1").replace("high: 99", "low: 3")
    (tmp_path / "built_in" / "short@1.yaml").write_text(built_in, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(PACK, encoding="utf-8")

    def read_text(text, name="policy.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_policy(tmp_path / "policy.yaml", Names(tmp_path))

    return read_text


def refusal(read, text, name="policy.yaml"):
    with pytest.raises(PolicyError) as refused:
        read(text, name)
    return str(refused.value)


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + held] * 10)}]\n" for held, name in pairwise("abcdefghi")
)

MISTAKES = {
    "gate that is always there": (
        "name: p\ngates:\n  state: {metric: human_share, low: 0.1, outside: warn}\n",
        2,
        "gates: a gate cannot be named `state`",
    ),
    "unknown key": (
        f"name: p\n{GATES}mixx: {{}}\n",
        3,
        "mixx: unknown key; known: classifier, decontaminate, dedup, expectations, gates, judging, mix",
    ),
    "unknown key is close to": (f"name: p\n{GATES}mixx: {{}}\n", 3, "Did you mean 'mix'?"),
    "unknown key of the mix": (f"name: p\n{GATES}mix:\n  human_shar: 0.3\n", 4, "Did you mean 'human_share'?"),
    "unknown key of judging": (f"name: p\n{GATES}judging:\n  draw: 30\n", 4, "judging.draw: unknown key; known: draws"),
    "unknown key of a gate": (
        "name: p\ngates:\n  rare:\n    lo: 1\n    outside: block\n",
        4,
        "gates.rare.lo: unknown key; known: high, low, metric, outside, relative. Did you mean 'low'?",
    ),
    "unknown key of a rule": (
        f"name: p\n{GATES}rules:\n  - signal: words\n    low: 1\n    outside: drop\n    weight: 2\n",
        7,
        "rules.0.weight: unknown key; known: high, low, name, outside, signal, where.",
    ),
    "key that is no word": (f"name: p\n{GATES}~: 3\n", 3, "unknown key"),
    "crossed bounds": (
        "name: p\ngates:\n  rare:\n    low: 0.9\n    high: 0.1\n    outside: warn\n",
        3,
        "gates.rare: `low` 0.9 is above `high` 0.1: nothing could be inside",
    ),
    "no bound": ("name: p\ngates:\n  rare: {outside: warn}\n", 3, "a bound needs `low`, `high` or both"),
    "nan": ("name: p\ngates:\n  rare:\n    low: .nan\n    outside: warn\n", 4, "finite number (found nan)"),
    "infinity": ("name: p\ngates:\n  rare:\n    high: .inf\n    outside: warn\n", 4, "finite number (found inf)"),
    "word for a number": ("name: p\ngates:\n  rare:\n    high: much\n    outside: warn\n", 4, "(found 'much')"),
    "wrong word": (
        "name: p\ngates:\n  rare: {low: 1, outside: drop}\n",
        3,
        "should be 'warn' or 'block' (found 'drop')",
    ),
    "floors above one": (
        f"name: p\n{GATES}mix: {{strata: {{language: {{de: {{floor: 0.7}}, fr: {{floor: 0.4}}}}}}}}\n",
        3,
        "the floors of `strata` add up to 1.1, more than 1",
    ),
    "shares that leave a gap": (
        f"name: p\n{GATES}mix: {{shares: {{" + ", ".join(f"{kind}: {{high: 0.1}}" for kind in POOL_KINDS) + "}}\n",
        3,
        "add up to 0.6: the rest of the mix has nothing to come from",
    ),
    "shares above one": (
        f"name: p\n{GATES}mix: {{human_share: 0.6, shares: {{unknown: {{low: 0.5}}}}}}\n",
        3,
        "add up to 1.1, more than 1",
    ),
    "bounds of a share the wrong way": (
        f"name: p\n{GATES}mix: {{shares: {{unknown: {{low: 0.5, high: 0.1}}}}}}\n",
        3,
        "`low` 0.5 is above `high` 0.1",
    ),
    "an origin that is not the pool's": (
        f"name: p\n{GATES}mix: {{shares: {{human_verified: {{low: 0.5}}}}}}\n",
        3,
        "human_presumed",
    ),
    "tokens of a mix by documents": (
        f"name: p\n{GATES}mix: {{by: documents, tokens: 10}}\n",
        3,
        "give `size` alone, which counts documents",
    ),
    "tombstones that are not there": (f"name: p\n{GATES}mix: {{tombstones: gone.csv}}\n", 3, "is no file"),
    "no share": (f"name: p\n{GATES}mix: {{human_share: 0}}\n", 3, "mix.human_share: Input should be greater than 0"),
    "share above one": (f"name: p\n{GATES}mix: {{human_share: 30}}\n", 3, "less than or equal to 1 (found 30)"),
    "too many epochs": (f"name: p\n{GATES}mix: {{max_epochs: 17}}\n", 3, "less than or equal to 16"),
    "half an epoch": (f"name: p\n{GATES}mix: {{max_epochs: 1.5}}\n", 3, "mix.max_epochs"),
    "more tokens than json can say": (f"name: p\n{GATES}mix: {{tokens: {2**53}}}\n", 3, "mix.tokens"),
    "few draws": (f"name: p\n{GATES}judging: {{draws: 3}}\n", 3, "greater than or equal to 20 (found 3)"),
    "no gates": ("name: p\n", 1, "gates: Field required"),
    "empty gates": ("name: p\ngates: {}\n", 2, "gates: a policy without gates holds nothing back; name one"),
    "yes for a number": ("name: p\ngates:\n  rare:\n    low: yes\n    outside: block\n", 4, "not yes or no"),
    "no name": (GATES, 1, "name: Field required"),
    "name with blanks": (f"name: My Policy\n{GATES}", 1, "name: String should match pattern"),
    "number for a name": (f"name: 2020\n{GATES}", 1, "valid string (found 2020)"),
    "gate with a wrong name": ("name: p\ngates:\n  Human Share: {low: 1, outside: warn}\n", 3, "should match pattern"),
    "list for a mapping": ("name: p\ngates: [human_share]\n", 2, "gates: Input should be a valid dictionary"),
    "mapping for a list": (f"name: p\n{GATES}rules: {{a: 1}}\n", 3, "rules:"),
    "word for a list": (f"name: p\n{GATES}packs: short@1\n", 3, "packs: `packs` must be a list"),
    "word for a rule": (f"name: p\n{GATES}rules:\n  - words\n", 4, "rules.0: "),
    "number for a mapping": (f"name: p\n{GATES}mix: 3\n", 3, "mix: "),
    "null for a number": ("name: p\ngates:\n  rare:\n    low: ~\n    outside: warn\n", 3, "a bound needs"),
    "unknown signal": (
        f"name: p\n{GATES}rules:\n  - low: 1\n    outside: drop\n    signal: wordz\n",
        6,
        "rules.0.signal: signal 'wordz' is unknown; known: language, words. Did you mean 'words'?",
    ),
    "unknown signal with parameters": (
        f"name: p\n{GATES}rules:\n  - {{signal: {{kind: x}}, low: 1, outside: drop}}\n",
        4,
        "signal 'x' is unknown",
    ),
    "unknown metric": (
        "name: p\ngates:\n  rare: {low: 1, outside: warn}\n  human_shar: {low: 1, outside: warn}\n",
        4,
        "metric 'human_shar' is unknown; known: distinct_2, human_share, rare. Did you mean 'human_share'?",
    ),
    "unknown metric by name": (
        "name: p\ngates:\n  rare_early:\n    low: 1\n    outside: warn\n    metric: rere\n",
        6,
        "metric 'rere' is unknown",
    ),
    "unknown pack": (f"name: p\n{GATES}packs:\n  - mine.yaml\n  - short@2\n", 5, "Did you mean 'short@1'?"),
    "pack that is a folder": (
        f"name: p\n{GATES}packs: [built_in]\n",
        3,
        "packs.0: pack 'built_in' is unknown and is no",
    ),
    "pack of a name that is too long": (f"name: p\n{GATES}packs: [{'x' * 300}]\n", 3, "is unknown and is no file"),
    "pack whose name holds a nul": (f'name: p\n{GATES}packs: ["a\\0b"]\n', 3, "is unknown and is no file"),
    "policy as its own pack": (f"name: p\n{GATES}packs: [policy.yaml]\n", 3, "'policy.yaml' is this policy itself"),
    "key given twice": (f"name: p\n{GATES}name: q\n", 3, "'name' is given twice; keep one of them"),
    "key given twice deep inside": ("name: p\ngates:\n  rare:\n    low: 1\n    low: 2\n", 5, "'low' is given twice"),
    "no yaml": ("name: p\ngates: {rare: [\n", 3, "this is not YAML"),
    "tab": ("name: p\n\tgates: 3\n", 2, "this is not YAML"),
    "two documents": (f"name: p\n{GATES}---\nname: q\n", 3, "this is not YAML"),
    "list that holds itself": (f"name: p\n{GATES}rules: &a [*a]\n", 1, "nested too deeply"),
    "command": (f"name: !!python/object/apply:os.getcwd []\n{GATES}", 1, "name: "),
    "no date": (f"name: p\n{GATES}mix: {{seed: 2020-13-45}}\n", 3, "'2020-13-45' is no timestamp (month must be"),
    "no number": (f"name: p\n{GATES}mix:\n  seed: !!int ''\n", 4, "put text into quotes"),
    "number of very many digits": (f"name: p\n{GATES}mix: {{seed: {'9' * 5000}}}\n", 3, "is no int (Exceeds the limit"),
    "aliases that stand for billions of values": (f"name: p\n{GATES}{BOMB}", 3, "more than 50,000 values"),
    "control character": ("name: p\x01\n", 1, "this is not YAML"),
    "nothing": ("", 1, "a mapping was expected, with keys such as `name` and `gates`"),
    "only a comment": ("# later\n", 1, "a mapping was expected"),
    "only a list": ("- name: p\n", 1, "a mapping was expected"),
}


@pytest.mark.parametrize(("text", "line", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_file_line_and_what_would_be_right(read, tmp_path, text, line, said):
    message = refusal(read, text)

    assert message.startswith(f"{tmp_path / 'policy.yaml'}:{line}: ")
    assert said in message


PACK_MISTAKES = {
    "unknown key": (PACK + "author: me\n", 6, "author: unknown key; known: name, rules, source, transforms, version."),
    "unknown key of a rule": (PACK.replace("high: 99", "hihg: 99"), 5, "Did you mean 'high'?"),
    "no bound": (PACK.replace("high: 99, ", ""), 5, "a bound needs `low`, `high` or both"),
    "no version": (PACK.replace("version: 2\n", ""), 1, "version: Field required"),
    "version nought": (PACK.replace("version: 2", "version: 0"), 2, "greater than or equal to 1 (found 0)"),
    "unknown signal": (PACK.replace("words", "wordz"), 5, "signal 'wordz' is unknown"),
    "no yaml": ("name: [", 1, "this is not YAML"),
    "nothing": ("", 1, "a mapping was expected"),
}


@pytest.mark.parametrize(("text", "line", "said"), PACK_MISTAKES.values(), ids=PACK_MISTAKES)
def test_a_mistake_in_a_pack_names_the_packs_file_and_line(read, tmp_path, text, line, said):
    read(WHOLE)

    message = refusal(read, text, "mine.yaml")

    assert message.startswith(f"{tmp_path / 'mine.yaml'}:{line}: ")
    assert said in message


@pytest.mark.parametrize(
    ("name", "said"), [("missing.yaml", "No such file"), (".", "Is a directory"), ("bytes.yaml", "it is not UTF-8")]
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, said):
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")

    with pytest.raises(PolicyError) as refused:
        read_policy(tmp_path / name, Names(tmp_path))

    assert str(refused.value).startswith(f"{tmp_path / name}: cannot be read ({said}")
    assert str(refused.value).endswith("give the path of a YAML file")


def test_a_whole_policy_is_read_with_its_packs_written_out(read):
    policy = read(WHOLE)

    assert policy.packs == (
        Pack(
            name="short",
            version=1,
            source="made for this test",
            rules=(Rule(signal="words", low=3, outside="drop"),),
        ),
        Pack(
            name="mine", version=2, source="made for this test", rules=(Rule(signal="words", high=99, outside="drop"),)
        ),
    )
    assert policy.mix == Mix(human_share=0.4, tokens=5000, max_epochs=2, on_exhausted="repeat", seed=7)
    assert policy.judging == Judging(tokens=2000, draws=30)
    assert policy.gates["target"] == Gate(metric="human_share", low=0.3, high=0.9, outside="warn")
    assert [(title, rule.outside) for title, rule in policy.all_rules()] == [
        ("short@1:words", "drop"),
        ("mine@2:words", "drop"),
        ("not_english", "drop"),
        ("words", "review"),
    ]
    assert [policy.gate_metric(name) for name in policy.gates] == ["human_share", "human_share", "rare"]


def test_what_a_policy_leaves_out_has_its_default(read):
    policy = read(f"name: p\n{GATES}")

    assert policy == Policy(name="p", gates={"human_share": Gate(low=0.1, outside="block")})
    assert (policy.mix, policy.judging, policy.rules) == (Mix(), Judging(), ())


def test_a_pack_is_found_beside_the_policy_wherever_the_policy_is_read_from(read, tmp_path, monkeypatch):
    read(WHOLE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert read_policy(Path("..", "policy.yaml"), Names(tmp_path)).digest == read(WHOLE).digest


def shuffled(value, rng):
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: shuffled(value[key], rng) for key in rng.sample(sorted(value), len(value))}


@pytest.mark.parametrize("seed", range(5))
def test_comments_layout_and_order_of_keys_do_not_change_the_digest(read, seed):
    digest = read(WHOLE).digest
    rearranged = yaml.safe_dump(shuffled(yaml.safe_load(WHOLE), random.Random(seed)), sort_keys=False)

    assert read("# a comment\n\n" + rearranged).digest == digest


def test_a_default_written_out_does_not_change_the_digest(read):
    short, written = (read(f"name: p\n{GATES}{mix}") for mix in ("", "mix: {human_share: 0.30, max_epochs: 4}\n"))

    assert short.digest == written.digest


CHANGES = [
    ("name: whole", "name: other"),
    ("[short@1, mine.yaml]", "[mine.yaml, short@1]"),
    ("[short@1, mine.yaml]", "[short@1]"),
    ("low: 0.5, outside: drop", "low: 0.6, outside: drop"),
    ("languages: [en]", "languages: [en, de]"),
    ("name: not_english, ", ""),
    ("low: 10, ", ""),
    ("low: 10, ", "low: 11, "),
    ("high: 1000", "high: 1001"),
    ("outside: review", "outside: drop"),
    ("human_share: 0.4", "human_share: 0.41"),
    ("tokens: 5000", "tokens: 5001"),
    ("max_epochs: 2", "max_epochs: 3"),
    ("on_exhausted: repeat", "on_exhausted: fail"),
    ("seed: 7", "seed: 8"),
    ("tokens: 2000", "tokens: 2001"),
    ("draws: 30", "draws: 31"),
    ("low: 0.1", "low: 0.11"),
    ("high: 0.9", "high: 0.91"),
    ("outside: warn", "outside: block"),
    ("relative: true, ", ""),
    ("metric: human_share", "metric: distinct_2"),
    ("  target:", "  goal:"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=[f"{old} -> {new}" for old, new in CHANGES])
def test_the_digest_changes_with_everything_a_policy_says(read, old, new):
    assert old in WHOLE

    assert read(WHOLE).digest != read(WHOLE.replace(old, new, 1)).digest


def test_the_digest_changes_with_a_bound_in_a_pack(read):
    digest = read(WHOLE).digest

    assert read(PACK.replace("99", "98"), "mine.yaml").digest != digest


def test_only_packs_and_rules_decide_what_is_sifted(read):
    sifting = read(WHOLE).sifting

    assert (
        read(WHOLE.replace("human_share: 0.4", "human_share: 0.5").replace("low: 0.1", "low: 0.2")).sifting == sifting
    )
    assert read(WHOLE.replace("high: 1000", "high: 1001")).sifting != sifting


def test_a_policy_survives_a_round_trip_through_json(read):
    policy = read(WHOLE)

    assert Policy(**policy.to_json()) == policy


NUMBERS = st.floats() | st.integers(-(10**20), 10**20)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.none() | FINITE, st.none() | FINITE, NUMBERS)
def test_a_bound_is_inclusive_and_nothing_unmeasurable_is_inside(low, high, value):
    if (low is None and high is None) or (low is not None and high is not None and low > high):
        with pytest.raises(ValidationError):
            Bound(low=low, high=high)
        return

    bound = Bound(low=low, high=high)

    expected = math.isfinite(value) and (low is None or low <= value) and (high is None or value <= high)
    assert bound.contains(value) == expected
    assert all(bound.contains(edge) for edge in (low, high) if edge is not None)
    assert not any(bound.contains(nothing) for nothing in (None, math.nan, math.inf, -math.inf))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bound_itself_is_finite(value):
    for end in ("low", "high"):
        with pytest.raises(ValidationError, match="finite"):
            Bound(**{end: value})


def test_everything_in_a_policy_is_frozen(read):
    policy = read(WHOLE)

    for part in (policy, policy.mix, policy.judging, policy.rules[0], policy.packs[0], policy.gates["rare"]):
        for field in dataclasses.fields(part):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(part, field.name, None)


@pytest.mark.parametrize(
    ("wanted", "known", "said"),
    [
        ("word", ["words", "lines"], "known: lines, words. Did you mean 'words'?"),
        ("xyz", {"b": 1, "a": 2}, "known: a, b."),
        ("x", [], "known: ."),
    ],
)
def test_a_suggestion_lists_what_exists_and_the_closest(wanted, known, said):
    assert suggest(wanted, known) == said
