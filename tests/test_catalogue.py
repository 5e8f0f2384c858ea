from __future__ import annotations

import pytest

from collapse_guard import metrics, signals
from collapse_guard.catalogue import BUILT_IN_POLICIES, Catalogue, load_policy
from collapse_guard.errors import PolicyError

BLOCKING = {"human_share", "rare_coverage", "missing_mass", "distinct_2", "entropy_2", "heldout_perplexity", "decline"}
WARNING = {
    "human_share_target": "human_share",
    "rare_coverage_early": "rare_coverage",
    "missing_mass_early": "missing_mass",
    "distinct_2_early": "distinct_2",
    "repeated_4grams": "repeated_4grams",
    "heldout_perplexity_early": "heldout_perplexity",
    "lost_types": "lost_types",
}
GATES = "gates: {human_share: {low: 0.1, outside: block}}\n"


@pytest.mark.parametrize("name", sorted(BUILT_IN_POLICIES))
def test_every_policy_that_comes_with_the_library_loads_and_blocks_something(name):
    policy = load_policy(name)

    assert any(gate.outside == "block" for gate in policy.gates.values())
    assert len(policy.digest) == 64


def test_the_default_policy_says_what_its_page_promises():
    policy = load_policy("default")

    assert (policy.mix.human_share, policy.mix.max_epochs, policy.mix.on_exhausted) == (0.3, 4, "fail")
    assert (policy.judging.tokens, policy.judging.draws) == (100_000, 200)
    assert {name: policy.gate_metric(name) for name in policy.gates} == {**{name: name for name in BLOCKING}, **WARNING}
    assert {name for name, gate in policy.gates.items() if gate.outside == "block"} == BLOCKING
    gated = {metrics.METRICS[policy.gate_metric(name)].family for name in policy.gates}
    assert {metric.family for metric in metrics.METRICS.values()} - gated == {"composition", "homogeneity"}
    assert [pack.title for pack in policy.packs] == ["gopher_quality@1"]


def test_every_pack_is_found_by_its_name_and_version(tmp_path):
    for title, path in Catalogue().built_in_packs().items():
        (tmp_path / "policy.yaml").write_text(f"name: p\npacks: ['{title}']\n{GATES}", encoding="utf-8")
        (pack,) = load_policy(tmp_path / "policy.yaml").packs
        assert pack.title == title == path.stem
        assert len({rule.title for rule in pack.rules}) == len(pack.rules)


def test_a_copied_policy_is_the_same_policy(tmp_path):
    copy = tmp_path / "mine.yaml"
    copy.write_bytes(BUILT_IN_POLICIES["default"].read_bytes())

    assert load_policy(copy) == load_policy(str(copy)) == load_policy("default")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("signal: word_cont", "Did you mean 'word_count'?"),
        ("signal: {kind: language_probability, langs: [en]}", "has no parameter 'langs'; known: languages"),
        ("signal: {languages: [en]}", "is unknown; known: "),
    ],
)
def test_a_signal_is_checked_with_its_parameters(tmp_path, rule, said):
    path = tmp_path / "policy.yaml"
    path.write_text(f"name: p\n{GATES}rules:\n  - {{{rule}, low: 1, outside: drop}}\n", encoding="utf-8")

    with pytest.raises(PolicyError) as refused:
        load_policy(path)

    assert str(refused.value).startswith(f"{path}:4: rules.0.signal: ")
    assert said in str(refused.value)


def test_a_metric_is_checked_by_name():
    for name in metrics.METRICS:
        Catalogue().check_metric(name)

    with pytest.raises(ValueError, match=r"metric 'distinkt_2' is unknown; known: .* Did you mean 'distinct_2'"):
        Catalogue().check_metric("distinkt_2")


def test_a_signal_that_exists_passes():
    for _, rule in load_policy("default").all_rules():
        Catalogue().check_signal(rule.signal)
        assert signals.resolve(rule.signal)


def test_an_unknown_policy_name_is_no_file():
    with pytest.raises(PolicyError, match=r"^defualt: cannot be read"):
        load_policy("defualt")
