"""`Marker` as a logits processor of transformers and of vLLM; torch comes from whoever calls.

Scores are marked on the CPU in numpy: what leaves the accelerator each step is one row of scores per sequence.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.provenance.marking.generators import Marker

Tensor: TypeAlias = Any
"""A torch tensor; torch is not imported for its type."""


class TransformersMarker:
    """A logits processor for `generate(logits_processor=[...])` of transformers; one for each call.

    It runs before `generate` applies temperature and top-k: a sampling scheme wants `temperature=1.0`, `top_k=0` and
    `do_sample=True` there, and its own temperature and top-k in the `Marker`.

    Args:
        marker: What marks.
        prompt_tokens: Length of the prompts, padding included: `inputs["input_ids"].shape[1]`; 1 for models with an
            encoder.
    """

    def __init__(self, marker: Marker, prompt_tokens: int) -> None:
        self._marker, self._prompt_tokens = marker, prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Mark the scores of the next tokens of a batch."""
        begins = np.full(len(input_ids), self._prompt_tokens)
        marked = self._marker.mark(_array(input_ids), _scores(scores), begins)
        return scores.new_tensor(marked)


def vllm_processor(marker: Marker) -> type[Any]:
    """Make a logits processor for vLLM's engine V1 with its first model runner.

    Written against the interface `vllm.v1.sample.logits_processor.LogitsProcessor` of vLLM 0.11 to 0.33. Give the class
    to `LLM(logits_processors=[...])`, or name it in a module of your own for `vllm serve --logits-processors`.
    Sampling schemes run after the temperature of each request, leave greedy requests alone, and choose before top-k and
    top-p.

    Args:
        marker: What marks; its temperature must be 1, because requests have their own.

    Returns:
        A class that derives from vLLM's.

    Raises:
        UsageError: vLLM is not installed or has no such interface, or the marker has a temperature.
    """
    return _derived(marker, _BatchMarker, "vllm.v1.sample.logits_processor")


def vllm_v2_processor(marker: Marker) -> type[Any]:
    """Make a logits processor for vLLM's second model runner, also under speculative decoding.

    Written against the interface `vllm.v1.worker.gpu.sample.logits_processor.LogitsProcessor` of vLLM 0.32 and 0.33.
    It runs before temperature, which it takes from each request and undoes; else as `vllm_processor`.

    Args:
        marker: What marks; its temperature must be 1, because requests have their own.

    Returns:
        A class that derives from vLLM's.

    Raises:
        UsageError: vLLM is not installed or has no such interface, or the marker has a temperature.
    """
    return _derived(marker, _SlotMarker, "vllm.v1.worker.gpu.sample.logits_processor")


def _derived(marker: Marker, ours: type[Any], module: str) -> type[Any]:
    if marker.temperature != 1:
        raise UsageError(
            f"the marker has a temperature of {marker.temperature}; in vLLM requests have it: leave it at 1"
        )
    try:
        theirs = importlib.import_module(module).LogitsProcessor
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{module} has no LogitsProcessor: install a vLLM that has one") from error
    return type("WatermarkLogitsProcessor", (ours, theirs), {"marker": marker})


class _BatchMarker:
    """A batch whose rows come, go and move; vLLM appends to the lists of ids that it gives."""

    marker: Marker

    def __init__(self, vllm_config: object, device: object, is_pin_memory: bool) -> None:  # noqa: FBT001 - theirs
        del vllm_config, device, is_pin_memory
        self._requests: dict[int, tuple[list[int], list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """Whether greedy requests are left alone, and temperature comes before."""
        return self.marker.samples

    def update_state(self, batch_update: Any) -> None:  # noqa: ANN401 - vLLM's
        """Follow the rows: removed, then added, then moved."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._requests.pop(row, None)
        for row, _, prompt, output in batch_update.added:
            self._requests[row] = (list(prompt or ()), output)
        for source, target, direction in batch_update.moved:
            moved, there = self._requests.pop(source, None), self._requests.pop(target, None)
            if moved is not None:
                self._requests[target] = moved
            if direction.name == "SWAP" and there is not None:
                self._requests[source] = there

    def apply(self, logits: Tensor) -> Tensor:
        """Mark every row whose ids are known."""
        scores = _scores(logits)
        for row, (prompt, output) in self._requests.items():
            ids = np.array([*prompt, *output], np.int64)
            if ids.min(initial=0) >= 0:  # a placeholder stands for an id that is still on its way
                scores[row] = self.marker.mark_row(ids, scores[row], len(prompt))
        return logits.copy_(logits.new_tensor(scores))


class _SlotMarker:
    """Rows that name the slot of their request; a request has several under speculative decoding."""

    marker: Marker

    def __init__(self, vllm_config: object, req_states: Any) -> None:  # noqa: ANN401 - vLLM's
        del vllm_config
        self._states = req_states
        self._temperatures: dict[int, float] = {}

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:  # noqa: ANN401 - vLLM's
        """Take the temperature of a request; a greedy one is not marked by a sampling scheme."""
        self._temperatures[req_idx] = float(sampling_params.temperature) if self.marker.samples else 1.0
        return self._temperatures[req_idx] > 0

    def apply(self, logits: Tensor, ctx: Any) -> Tensor:  # noqa: ANN401 - vLLM's
        """Mark every row."""
        scores, prompts = _scores(logits), _array(self._states.prompt_len.gpu)
        given = [_array(each) for each in (ctx.expanded_idx_mapping, ctx.expanded_local_pos, ctx.pos, ctx.input_ids)]
        for row, (slot, place, position) in enumerate(zip(*(each.tolist() for each in given[:3]), strict=True)):
            temperature = self._temperatures.get(slot, 0.0)
            if temperature > 0:
                before = _array(self._states.all_token_ids.gpu[slot, : position - place])
                ids = np.append(before, given[3][row - place : row + 1])
                marked = self.marker.mark_row(ids, scores[row] / np.float32(temperature), int(prompts[slot]))
                scores[row] = marked * np.float32(temperature)
        return logits.copy_(logits.new_tensor(scores))


def _array(tensor: Tensor) -> NDArray[np.int64]:
    return np.asarray(tensor.detach().cpu().numpy(), np.int64)


def _scores(tensor: Tensor) -> NDArray[np.float32]:
    """Copy scores of any precision."""
    return np.array(tensor.detach().float().cpu().numpy(), np.float32)
