from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from collapse_guard.embedding import BATCH, embed
from collapse_guard.errors import SignalError

HERE = "test_embedding"


def lengths(texts: list[Any]) -> list[list[float]]:
    return [[len(text), 1.0] for text in texts]


def bytes_of(images: list[bytes]) -> np.ndarray:
    return np.array([[image[0]] for image in images], np.float32)


def not_a_number(texts: list[str]) -> list[list[float]]:
    return [[np.nan if text == "bad" else 1.0] for text in texts]


def infinite(texts: list[str]) -> list[list[float]]:
    return [[np.inf if text == "bad" else 1.0] for text in texts]


def raising(texts: list[str]) -> list[list[float]]:
    if "bad" in texts:
        raise RuntimeError("no such word")
    return lengths(texts)


def raising_in_company(texts: list[str]) -> list[list[float]]:
    if len(texts) > 1:
        raise MemoryError("too many")
    return lengths(texts)


def flat(texts: list[str]) -> list[float]:
    return [1.0] * len(texts)


def short(texts: list[str]) -> list[list[float]]:
    return lengths(texts)[1:]


def ragged(texts: list[str]) -> list[list[float]]:
    return [[1.0] * (1 + len(texts) % 2)] * len(texts)


def nothing(texts: list[str]) -> None:
    del texts


def test_rows_come_in_the_order_of_the_texts_however_many_there_are():
    texts = ["x" * number for number in range(2 * BATCH + 3)]
    found = embed(texts, f"{HERE}:lengths")
    assert (found.dtype, found.shape) == (np.float64, (len(texts), 2))
    assert found[:, 0].tolist() == list(range(len(texts)))


def test_images_are_given_as_bytes():
    assert embed([b"a", b"b"], f"{HERE}:bytes_of").tolist() == [[97.0], [98.0]]


def test_no_text_gives_no_row():
    assert embed([], f"{HERE}:lengths").shape == (0, 0)


@pytest.mark.parametrize("function", ["not_a_number", "infinite", "raising"])
def test_the_error_names_the_document(function):
    texts = ["good"] * (BATCH + 5) + ["bad"]
    names = [f"d{number}" for number in range(len(texts))]
    with pytest.raises(SignalError, match=f"{HERE}:{function}.*document 'd{BATCH + 5}'"):
        embed(texts, f"{HERE}:{function}", ids=names)
    with pytest.raises(SignalError, match=f"at document {BATCH + 5};"):
        embed(texts, f"{HERE}:{function}")


@pytest.mark.parametrize("function", ["flat", "short", "nothing", "raising_in_company"])
def test_what_is_no_row_per_document_is_refused(function):
    with pytest.raises(SignalError, match="at document 0; it must give one row of finite numbers each"):
        embed(["a", "b"], f"{HERE}:{function}")


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(SignalError, match="gave 2 numbers per document, and 1 before"):
        embed(["a"] * (BATCH + 1), f"{HERE}:ragged")


@pytest.mark.parametrize("path", ["nowhere", "no_such_module:f", f"{HERE}:no_such_function", f"{HERE}:BATCH"])
def test_a_path_to_no_function_is_refused(path):
    with pytest.raises(SignalError, match="the embedder cannot be used"):
        embed(["a"], path)
