"""Our adapter and the references' samplers on the same logits: `python peer_marking.py REFERENCES JOBS FOLDER ...`.

Runs beside the references; this library and what it needs come from the FOLDERs, after what is installed here. JOBS is
a JSON list of `{"key": {...}, "tokens": n}`. Prints one
JSON list with an object per job: `text`, which our adapter marked over random logits; `compared` and `identical`, how
many of its steps the reference marked too and how often with the same outcome; `difference`, the largest one between
the scores; `ours` and `theirs`, seconds of processor time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peer_watermarks import PROMPT, SCHEMES, STRENGTH, TOP_K, Kgw, draw

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE = 1e-5
"""Of probabilities that the references compute in float32, and ours in float64."""


class Step(NamedTuple):
    """What a reference does with the scores of the next token."""

    marks: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    top_k: int | None = None
    skipped: int = 0
    """First tokens that it marks under a context of its own, of zeros."""


def added(processor: Any) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: ANN401 - any of them
    """A processor that may write into what it is given."""
    return lambda ids, scores: processor(ids, scores.clone())


def chosen(sampler: Any, width: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: ANN401 - vLLM's
    """A sampler as scores that leave one token possible; as in vLLM, contexts lack the prompt, and count once."""
    known = set()

    def marks(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        context = torch.tensor([([-1] * width + ids[0, PROMPT:].tolist())[-width:]])
        if (said := tuple(context[0].tolist())) in known:
            return scores
        known.add(said)
        alone = torch.full_like(scores, -torch.inf)
        alone[0, sampler.sample(scores, context).token_ids] = 0
        return alone

    return marks


def spread(sampler: Any) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: ANN401 - synthid-text's
    """A sampler of the top k as scores of the whole vocabulary."""

    def marks(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        updated, places, _ = sampler.watermarked_call(ids, scores)
        return torch.full_like(scores, -torch.inf).scatter(1, places, updated)

    return marks


def step_of(reference: Any, key: dict[str, Any]) -> Step:  # noqa: ANN401 - any of them
    """How a reference marks."""
    inside, before = vars(reference), key.get("ngram_len", 5) - 1
    if key["scheme"] == "gumbel_philox":
        return Step(chosen(inside["_sampler"], key.get("context_width", 4)))
    if key["scheme"] == "synthid_table":
        return Step(added(inside["_scorer"]), None, before)
    if key["scheme"] == "synthid_iv":
        return Step(spread(inside["_sampler"]), TOP_K, before)
    return Step(added(inside["_processor"]))


def far(ours: torch.Tensor, theirs: torch.Tensor, *, sampled: bool) -> float:
    """The largest difference between two scores, or between the probabilities that they mean."""
    if sampled:
        ours, theirs = (torch.softmax(each.double(), -1) for each in (ours, theirs))
    return float((ours - theirs).abs().max())


def ours(key: dict[str, Any], top_k: int | None) -> tuple[Any, bool]:
    """Our adapter, and whether it samples."""
    from collapse_guard.provenance.marking.adapters import TransformersMarker  # noqa: PLC0415 - `main` says where it is
    from collapse_guard.provenance.marking.generators import Marker  # noqa: PLC0415
    from collapse_guard.provenance.watermark.keys import complete  # noqa: PLC0415

    marker = Marker(complete(key), delta=STRENGTH, top_k=top_k)
    return TransformersMarker(marker, PROMPT), marker.samples


def answer(job: dict[str, Any], references: Path) -> dict[str, Any]:
    """Write a text with our adapter, and have the reference mark the same scores beside it."""
    key, seconds = job["key"], [0.0, 0.0]
    vocabulary, step = key["vocab_size"], step_of(SCHEMES.get(key["scheme"], Kgw)(key, references), key)
    adapter, sampled = ours(key, step.top_k)
    torch.manual_seed(0)
    ids, favourites = torch.randint(vocabulary, (1, PROMPT)), torch.randn(vocabulary) * 2
    adapter(ids, favourites[None])  # loads kernels; keeps nothing
    differences = []
    for number in range(job["tokens"]):
        scores, marked = (favourites + torch.randn(vocabulary))[None], []
        for place, marks in enumerate((adapter, step.marks)):
            started = time.process_time()
            marked.append(marks(ids, scores))
            seconds[place] += time.process_time() - started
        if number >= step.skipped:
            differences.append(far(*marked, sampled=sampled))
        ids = torch.cat([ids, torch.tensor([[draw(marked[0][0])]])], dim=1)
    same = sum(difference <= TOLERANCE * sampled for difference in differences)
    told = {"compared": len(differences), "identical": same, "difference": max(differences)}
    return {"text": ids[0, PROMPT:].tolist(), **told, "ours": seconds[0], "theirs": seconds[1]}


def main() -> None:
    """Answer all jobs."""
    sys.path += sys.argv[3:]
    references, jobs = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(1)
    print(json.dumps([answer(job, references) for job in jobs]))


if __name__ == "__main__":
    main()
