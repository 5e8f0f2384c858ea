from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from small_project import DEFAULT_POLICY, TOO_LITTLE, pages, write_pages

from collapse_guard import cli
from collapse_guard.mix import Leaks

SHARED = Path(__file__).parents[2] / "shared" / "data" / "bad_input"


class Shell:
    """Runs commands as a person would, in one folder, and keeps what they print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLLAPSE_GUARD_KEY", str(folder / "key.pem"))

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["collapse-guard", *words])
        self._capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        found, out, err = self(*words, "--json")
        assert found == code, err
        value: dict[str, Any] = json.loads(out)
        return value


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


def policy(shell: Shell, share: float = 0.3) -> str:
    (shell.folder / "policy.yaml").write_text(DEFAULT_POLICY.replace("SHARE", str(share)), encoding="utf-8")
    return "policy.yaml"


def admit(shell: Shell) -> dict[str, Any]:
    write_pages(shell.folder / "human" / "h.jsonl", pages(300, seed=1))
    return shell.json("reservoir", "admit", "human", "--by", "us", "--licence", "CC0-1.0", "--evidence", "generated")


def test_a_mix_that_leaks_the_evaluation_split_ends_with_exit_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ["--policy", policy(shell), "--corpus", "web", "--dump", "d0"]
    admit(shell)
    write_pages(shell.folder / "crawl" / "c.jsonl", pages(60, seed=2))
    shell("sift", "crawl", *rules)
    assert shell("mix", *rules)[0] == 0
    monkeypatch.setattr("collapse_guard.mix.find_leaks", lambda *_: Leaks(80, 30, 1, ("stolen",)))

    code, out, err = shell("mix", *rules)

    assert code == 1
    assert "1 leaked (first: stolen); do not release this candidate" in " ".join((out + err).split())


def test_the_whole_way_from_files_to_an_open_release(shell: Shell) -> None:
    where = ["--corpus", "web", "--dump", "d0"]
    rules = ["--policy", policy(shell)]
    write_pages(shell.folder / "crawl" / "c.jsonl", [*pages(80, seed=2), "too short"])

    admitted = admit(shell)
    read = shell.json("ingest", "crawl", *where)
    measured = shell.json("measure", *where, *rules)
    sifted = shell.json("sift", *where, *rules)
    mixed = shell.json("mix", *where, *rules)
    judged = shell.json("judge", *where, *rules)
    released = shell.json("release", *where, *rules)
    verified = shell.json("verify", "--corpus", "web")

    assert admitted["ledger"]["kept"] == 300
    assert read["ledger"] == {"in": 81, "kept": 81, "review": 0, "dropped": {}, "quarantined": {}}
    assert measured["ledger"]["kept"] == 81
    assert sifted["ledger"]["dropped"] == {"gopher_quality@1:too_short": 1}
    assert judged["passed"]
    assert judged["digest"] == mixed["digest"] == released["digest"] == verified["digest"]
    assert {"name", "value", "low", "high", "passed"} <= set(judged["gates"][0])
    assert {"state", "gates", "remedy", "digest"} <= set(released)


def test_a_refusal_exits_1_with_the_gate_and_the_remedy(shell: Shell) -> None:
    where = ["--corpus", "web", "--dump", "d0", "--policy", policy(shell, TOO_LITTLE)]
    write_pages(shell.folder / "crawl" / "c.jsonl", pages(80, seed=2))
    admit(shell)
    shell("ingest", "crawl", *where[:4])
    shell("sift", *where)
    shell("mix", *where)

    judged = shell.json("judge", *where, code=1)
    code, out, err = shell("release", *where)

    assert not judged["passed"]
    assert judged["remedy"]["human_tokens_to_add"] > 0
    assert code == 1
    assert "human_share" in err
    assert "Remedy: add" in err
    assert "Traceback" not in out + err
    assert shell("verify", "--corpus", "web")[0] == 1


def test_explain_tells_the_whole_way_of_a_document(shell: Shell) -> None:
    where = ["--corpus", "web", "--dump", "d0"]
    rules = ["--policy", policy(shell)]
    rows = [{"id": f"doc-{n}", "text": text, "url": "https://a.example/x"} for n, text in enumerate(pages(80, seed=2))]
    rows += [{"id": "short", "text": "too short"}, {"id": "copy", "text": rows[0]["text"]}]
    (shell.folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    admit(shell)
    shell("ingest", "c.jsonl", *where)
    for step in ("sift", "mix", "release"):
        assert shell(step, *where, *rules)[0] == 0

    kept = shell.json("explain", "doc-1")["found"][0]
    short = shell.json("explain", "short")["found"][0]
    copies = [shell.json("explain", name)["found"][0] for name in ("copy", "doc-0")]

    assert kept["source"] == "c.jsonl"
    assert kept["place"]["offset"] > 0
    assert kept["verdict"] == "keep"
    assert kept["mixed"][0]["taken"]
    assert kept["mixed"][0]["release"] == 1
    assert set(kept["snapshots"]) == {"documents", "measured", "sifted"}
    assert (short["verdict"], short["rule"], short["value"]) == ("drop", "gopher_quality@1:too_short", 2.0)
    assert short["rules"][0] == {
        "rule": "gopher_quality@1:too_short",
        "low": 50.0,
        "high": None,
        "value": 2.0,
        "inside": False,
        "applies": True,
        "outside": "drop",
    }
    assert [copy["duplicate_of"] for copy in copies] == [None, "copy"]
    code, _, err = shell("explain", "nobody")
    assert code == 2
    assert "nobody" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ingest", "nothing-here"], "nothing-here"),
        (["ingest", "x.jsonl", "--field", "text"], "NAME=COLUMN"),
        (["measure"], "run `collapse-guard ingest` first"),
        (["sift", "--policy", "absent.yaml"], "absent.yaml"),
        (["mix"], "no document was ever admitted"),
        (["ingest", ".", "--corpus", "../up"], "../up"),
        (["frobnicate"], "frobnicate"),
        (["reservoir", "admit", "x.jsonl", "--by", " ", "--licence", "x", "--evidence", "y"], "by"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(shell: Shell, words: list[str], said: str) -> None:
    write_pages(shell.folder / "x.jsonl", ["a text"])
    if words[0] in {"sift", "mix"}:
        shell("ingest", "x.jsonl")

    code, out, err = shell(*words)

    assert code in {2, 3} if words[0] == "mix" else code == 2
    assert said in err
    assert "Traceback" not in out + err


def test_a_wrong_policy_exits_2_and_names_file_and_line(shell: Shell) -> None:
    write_pages(shell.folder / "x.jsonl", ["a text"])
    shell("ingest", "x.jsonl")
    (shell.folder / "p.yaml").write_text("name: p\ngates:\n  human_share: {lo: 1, outside: block}\n", encoding="utf-8")

    code, out, _ = shell("sift", "--policy", "p.yaml", "--json")

    assert code == 2
    assert "p.yaml:3" in json.loads(out)["error"]
    assert "Did you mean 'low'?" in json.loads(out)["error"]


def test_input_from_which_nothing_could_be_kept_exits_3_and_is_in_quarantine(shell: Shell) -> None:
    (shell.folder / "x.jsonl").write_bytes(b'{"text": \xff}\nnot json\n')

    code, out, err = shell("ingest", "x.jsonl", "--json")

    assert code == 3
    assert json.loads(out.splitlines()[0])["ledger"]["quarantined"] == {"bad_json": 1, "invalid_utf8": 1}
    assert "quarantined" in err


def test_the_listing_has_every_signal_and_metric(shell: Shell) -> None:
    listed = shell.json("signals")

    assert {"word_count", "language_probability"} <= {row["kind"] for row in listed["signals"]}
    assert {"human_share", "heldout_perplexity"} <= {row["kind"] for row in listed["metrics"]}


def test_the_listing_has_the_signals_that_a_policy_declares(shell: Shell) -> None:
    (shell.folder / "p.yaml").write_text(
        "name: p\nsignals: {german: {kind: language_probability, languages: [de]}, own: {function: 'builtins:len'}}\n"
        "gates: {human_share: {low: 0.1, outside: block}}\n",
        encoding="utf-8",
    )

    listed = shell.json("signals", "--policy", "p.yaml")["signals"]

    assert [row["kind"] for row in listed[-2:]] == ["language_probability", "own"]
    assert listed[-1]["summary"] == "Return the number of items in a container."


def test_measuring_files_reads_them_first_and_shows_the_spread_of_every_signal(shell: Shell) -> None:
    write_pages(shell.folder / "c.jsonl", pages(20, seed=2))

    code, out, _ = shell("measure", "c.jsonl", "--policy", policy(shell))

    assert code == 0
    assert "top_ngram_characters" not in out
    assert "word_count@2" in out
    assert shell.json("sift", "c.jsonl", "--policy", "policy.yaml")["ledger"]["in"] == 20


def test_the_audit_shows_every_rule_alone(shell: Shell) -> None:
    write_pages(shell.folder / "c.jsonl", [*pages(40, seed=2), *["too short"] * 2])
    shell("sift", "c.jsonl", "--policy", policy(shell))

    found = shell.json("audit", "--policy", "policy.yaml")
    code, out, _ = shell("audit", "--policy", "policy.yaml")

    alone = {rule["rule"]: rule["documents"] for rule in found["rules"]}
    assert alone["gopher_quality@1:too_short"] == 2
    assert alone["gopher_quality@1:too_few_stop_words"] == 2
    assert code == 0
    assert "gopher_quality@1:too_few_stop_words" in out


def test_packs_are_listed_shown_and_compared(shell: Shell) -> None:
    titles = {row["pack"] for row in shell.json("packs", "list")["packs"]}
    _, text, _ = shell("packs", "show", "gopher_quality@1")
    (shell.folder / "mine.yaml").write_text(text.replace("low: 50", "low: 20"), encoding="utf-8")

    differences = shell.json("packs", "diff", "gopher_quality@1", "mine.yaml")["differences"]

    assert {"gopher_quality@1", "gopher_repetition@1", "c4@1", "c4_no_punctuation@1", "fineweb@1"} <= titles
    assert [(row["what"], row["right"]) for row in differences] == [("too_short", "20 ≤ word_count, else drop")]
    assert shell("packs", "diff", "c4@1", "c4@1")[1].strip() == "both decide alike"
    assert shell("packs", "diff", "c4@1", "c5@1")[0] == 2


def test_the_sweep_removes_what_a_crash_left(shell: Shell) -> None:
    write_pages(shell.folder / "x.jsonl", ["a text"])
    shell("ingest", "x.jsonl")
    left = shell.folder / "guard" / "shards" / "00" / "left.parquet"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"left over")

    assert shell.json("sweep")["removed"] == ["shards/00/left.parquet"]
    assert shell.json("sweep")["removed"] == []


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/bad_input is not beside this checkout")
def test_every_bad_input_gives_rows_or_quarantine_and_a_balanced_ledger(shell: Shell) -> None:
    for folder in sorted(path for path in SHARED.iterdir() if path.is_dir()):
        code, out, err = shell("ingest", str(folder), "--corpus", folder.name, "--json")
        ledger = json.loads(out.splitlines()[0])["ledger"]

        assert code in {0, 3}, err
        assert (code == 3) == (ledger["kept"] == 0)
        accounted = ledger["kept"] + sum(ledger["dropped"].values()) + sum(ledger["quarantined"].values())
        assert ledger["in"] == accounted > 0
        assert "Traceback" not in out + err
