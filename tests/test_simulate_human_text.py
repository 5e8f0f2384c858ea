from __future__ import annotations

import sys
from importlib.metadata import PathDistribution
from textwrap import dedent

import pytest

from collapse_guard.errors import UsageError
from collapse_guard.simulate import human_text
from collapse_guard.simulate.human_text import HUMAN_TEXT, read_human_text


def sentences(subject: str, count: int = 12) -> str:
    return "\n\n".join(
        f"The {subject} of part {n} is the first thing that the reader sees in the morning." for n in range(count)
    )


def install(root, name: str, *, module: str, metadata: str = "License-Expression: MIT", description: str = ""):
    folder = root / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (root / f"{name}.py").write_text(module)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}\n\n{description}")
    (folder / "RECORD").write_text(f"{name}.py,,\n{name}/gone.py,,\n")
    return PathDistribution(folder)


@pytest.fixture
def only(monkeypatch, tmp_path):
    """Let nothing be installed but the given distributions, and no text be too little."""

    def replace(*distributions):
        monkeypatch.setattr(human_text, "distributions", lambda: distributions)
        monkeypatch.setattr(human_text, "topics", {})
        monkeypatch.setattr(human_text, "LEAST_BYTES", 0)
        monkeypatch.setattr(human_text.sysconfig, "get_path", lambda _: str(tmp_path / "no-stdlib"))
        return read_human_text().to_pylist()

    return replace


@pytest.fixture(scope="module")
def prose():
    return read_human_text(700_000)


def test_the_prose_of_this_installation_fills_its_limit_from_all_four_domains(prose):
    texts = prose["text"].to_pylist()

    assert prose.schema == HUMAN_TEXT
    assert 600_000 < sum(len(text.encode()) for text in texts) <= 700_000
    assert set(prose["domain"].to_pylist()) == {"topics", "stdlib", "distribution", "description"}
    assert len({word for text in texts for word in text.split()}) > 8_000


def test_documents_have_their_length_and_are_distinct(prose):
    lengths = [len(text.split()) for text in prose["text"].to_pylist()]

    assert min(lengths) >= 60
    assert max(lengths) <= 800
    assert len(set(prose["id"].to_pylist())) == len(set(prose["text"].to_pylist())) == prose.num_rows


def test_most_paragraphs_read_as_sentences(prose):
    paragraphs = [part for text in prose["text"].to_pylist() for part in text.split("\n\n")]

    assert all(part.rstrip("\"')]\u201d\u2019")[-1] in ".!?" for part in paragraphs)
    assert not any(">>>" in part or "    " in part or "\n" in part for part in paragraphs)


def test_the_same_installation_gives_the_same_table(prose):
    assert read_human_text(700_000).equals(prose)


def test_the_licence_comes_from_the_metadata_and_python_has_its_own(prose):
    rows = prose.to_pylist()

    assert {row["licence"] for row in rows if row["domain"] in {"topics", "stdlib"}} == {"PSF-2.0"}
    assert all(row["licence"] for row in rows)


def test_a_module_is_read_and_never_imported(tmp_path, only):
    module = f'''"""{sentences("module")}"""\nraise SystemExit("imported")\n'''

    (row,) = only(install(tmp_path, "quiet", module=module))

    assert row["text"] == sentences("module")
    assert (row["source"], row["domain"], row["licence"]) == ("dist/quiet", "distribution", "MIT")
    assert "quiet" not in sys.modules


def test_code_tables_and_headings_are_left_out(tmp_path, only):
    documentation = f"""{sentences("function")}

    Parameters
    ----------
    size : int, optional
        The number of the things that are counted in the end of it all.

    >>> function(1)  # this is the example of the day, and it is not a sentence.
    2

    | a | b | of the table with the words that are in the table of the day.

    ``Marked`` words of *the* text are read without :func:`the marks` that they have.
    """

    (row,) = only(install(tmp_path, "marked", module=f'def function(size):\n    """{documentation}"""\n'))

    assert row["text"].removeprefix(sentences("function")).split("\n\n") == [
        "",
        "The number of the things that are counted in the end of it all.",
        "Marked words of the text are read without the marks that they have.",
    ]


def test_a_class_with_its_methods_is_one_document_and_a_function_another(tmp_path, only):
    module = dedent('''
        class Thing:
            """{0}"""

            def method(self):
                """{1}"""

        def function():
            """{2}"""
    ''').format(*(sentences(kind, 8).replace("\n\n", " ") for kind in ("class", "method", "function")))

    texts = {row["text"] for row in only(install(tmp_path, "grouped", module=module))}

    assert sorted(text.count("\n\n") for text in texts) == [0, 1]


def test_a_repeated_paragraph_counts_once(tmp_path, only):
    module = f'"""{sentences("module")}"""\n'
    first, second = (install(tmp_path / name, name, module=module) for name in ("one", "two"))

    assert len(only(first, second)) == 1


def test_long_texts_are_split_at_blank_lines(tmp_path, only):
    rows = only(install(tmp_path, "long", module="", description=sentences("guide", 100)))

    assert len(rows) == 3
    assert {row["domain"] for row in rows} == {"description"}
    assert sorted("\n\n".join(row["text"] for row in rows).split("\n\n")) == sorted(
        sentences("guide", 100).split("\n\n")
    )


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: Apache-2.0\nLicense: other", "Apache-2.0"),
        ("License: BSD", "BSD"),
        ("License: " + "long " * 20 + "\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("Summary: none", "unknown"),
    ],
)
def test_the_licence_is_the_most_exact_that_is_stated(tmp_path, only, metadata, licence):
    (row,) = only(install(tmp_path, "any", module="", metadata=metadata, description=sentences("text")))

    assert row["licence"] == licence


def test_what_this_project_says_about_itself_is_not_read(tmp_path, only):
    assert only(install(tmp_path, "collapse_guard", module="", description=sentences("text"))) == []


def test_an_installation_without_prose_is_refused_with_both_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(human_text, "distributions", list)
    monkeypatch.setattr(human_text, "topics", {"topic": sentences("topic")})
    monkeypatch.setattr(human_text.sysconfig, "get_path", lambda _: str(tmp_path))

    with pytest.raises(UsageError, match=r"holds 9\d\d bytes of prose .* 300,000 are needed"):
        read_human_text()
