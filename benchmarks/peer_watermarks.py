"""The references: `python peer_watermarks.py REFERENCES JOBS` in an environment with torch and transformers.

REFERENCES holds their sources as `benchmarks.watermarks` puts them there. JOBS is a JSON list of
`{"key": {...}, "texts": [[id, ...], ...]}`, or of `{"key": {...}, "seed": n, "marked": n}` with a `count` of texts, or
with their `lengths`, for texts that are made here: a third carries the mark of the reference's own sampler over random
logits, a third is random, a third repeats itself. Prints one JSON list with an object per job: `texts`; `reference` and
`none`, what the reference says of every text with its own deduplication on and off, as `[score, scored tokens, p]`,
null where it refuses the text and p null where it has none; `seconds`, processor time of the first of the two.
A job with `"statistic": "weighted"` asks SynthID for its weighted mean. One with `"passages": n` and a `sharpness` gets
n texts of `length` marked ids over fresh logits that are so many times those of a standard normal distribution.
"""

from __future__ import annotations

import importlib
import json
import math
import random
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import scipy.stats
import torch
import transformers

CPU = torch.device("cpu")
PROMPT = 8
"""Random ids before the marked ones: as many as the widest context of a sampler needs."""
FREEFORM = {
    "kgw_simple_1": ("additive_prf", 1, False),
    "kgw_minhash": ("minhash_prf", 4, False),
    "kgw_selfhash": ("anchored_minhash_prf", 4, True),
    "kgw_skipgram": ("skipgram_prf", 5, False),
}
"""Schemes of lm-watermarking by their parts: only its freeform names take a key, and they stand for the same."""
STRENGTH = 4.0
TOP_K = 100
Found = tuple[float, int, float | None]


def load(folder: Path, name: str) -> Any:  # noqa: ANN401 - a module of a reference
    """Import a module from a folder, whatever another folder's package of that name holds."""
    package = name.split(".", maxsplit=1)[0]
    for known in [each for each in sys.modules if each.split(".")[0] == package and package != "vllm"]:
        del sys.modules[known]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def draw(logits: torch.Tensor) -> int:
    """Sample one id."""
    return int(torch.multinomial(torch.softmax(logits, -1), 1).item())


class NoTokenizer:
    """Gives ids back as they come; the detectors ask it for the id at which a text begins."""

    bos_token_id = None

    def encode(self, ids: list[int], **_: object) -> torch.Tensor:
        """Ids as a batch of one text."""
        return torch.tensor([ids])

    def __call__(self, ids: list[int], **_: object) -> dict[str, torch.Tensor]:
        """Ids as a batch of one text."""
        return {"input_ids": torch.tensor([ids])}


class Kgw:
    """lm-watermarking, `extended_watermark_processor.py`."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        module = load(references / "lm-watermarking", "extended_watermark_processor")
        scheme = str(key["scheme"])
        if scheme in FREEFORM:
            prf, width, salt = FREEFORM[scheme]
            scheme = f"ff-{prf}-{key.get('context_width', width)}-{salt}"
        scheme += f"-{key['key']}"
        given = {"vocab": list(range(key["vocab_size"])), "gamma": key.get("gamma", 0.25), "seeding_scheme": scheme}
        self._processor = module.WatermarkLogitsProcessor(**given, delta=STRENGTH)
        self._detector = module.WatermarkDetector(**given, device=CPU, tokenizer=NoTokenizer(), normalizers=[])

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        return draw(self._processor(torch.tensor([ids]), logits[None])[0])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its z over n-grams, unique ones where it deduplicates."""
        self._detector.ignore_repeated_ngrams = deduplicate
        said = self._detector.detect(tokenized_text=torch.tensor(ids))
        return float(said["z_score"]), int(said["num_tokens_scored"]), float(said["p_value"])


class HuggingFace:
    """transformers, `WatermarkDetector`."""

    def __init__(self, key: dict[str, Any], _references: Path) -> None:
        scheme = key["scheme"].removeprefix("hf_")
        width = key.get("context_width", 4 if scheme == "selfhash" else 1)
        config = transformers.WatermarkingConfig(
            greenlist_ratio=key.get("gamma", 0.25),
            bias=STRENGTH,
            hashing_key=key["key"],
            seeding_scheme=scheme,
            context_width=width,
        )
        # With a begin id of None the detector stops with a TypeError; no text has an id of -1.
        model = SimpleNamespace(bos_token_id=-1, is_encoder_decoder=False, vocab_size=key["vocab_size"])
        self._processor = transformers.WatermarkLogitsProcessor(
            key["vocab_size"], "cpu", key.get("gamma", 0.25), STRENGTH, key["key"], scheme, width
        )
        self._detectors = {
            deduplicate: transformers.WatermarkDetector(model, "cpu", config, ignore_repeated_ngrams=deduplicate)
            for deduplicate in (True, False)
        }

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        return draw(self._processor(torch.tensor([ids]), logits[None])[0])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its z over n-grams, unique ones where it deduplicates."""
        said = self._detectors[deduplicate](torch.tensor([ids]), return_dict=True)
        return float(said.z_score[0]), int(said.num_tokens_scored[0]), float(said.p_value[0])


class Unigram:
    """Unigram-Watermark, `gptwm.py`."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        # transformers 5 has no `LogitsWarper` any more; its base class was the same as the processors'.
        transformers.LogitsWarper = transformers.LogitsProcessor
        module = load(references / "unigram", "gptwm")
        given = (key.get("gamma", 0.5), STRENGTH, key["vocab_size"], key["key"])
        self._warper, self._detector = module.GPTWatermarkLogitsWarper(*given), module.GPTWatermarkDetector(*given)

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        return draw(self._warper(torch.tensor([ids]), logits[None])[0])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its z over all tokens, or over the unique ones."""
        z = (self._detector.unidetect if deduplicate else self._detector.detect)(ids)
        return float(z), len(set(ids)) if deduplicate else len(ids), None


class Philox:
    """vLLM, `GumbelWatermarkDetector` and its dual-key sibling."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        # Only these files of vLLM are here; what they import besides is for its engine on a GPU.
        for name, parts in {
            "vllm.config.utils": {"config": lambda declared: declared},
            "vllm.logger": {"init_logger": lambda _name: None},
            "vllm.v1.worker.gpu.sample.gumbel": {"gumbel_sample": None},
        }.items():
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name]).update(parts)
        module = load(references / "vllm-wheel", "vllm.v1.watermarking.gumbel")
        dual = "DualKey" if key["scheme"].endswith("dual") else ""
        self._width = key.get("context_width", 4)
        self._sampler = getattr(module, f"{dual}GumbelWatermarker")(key["key"], self._width)
        detector = getattr(module, f"{dual}GumbelWatermarkDetector")
        self._detectors = {
            deduplicate: detector(key["key"], self._width, deduplicate_contexts=deduplicate)
            for deduplicate in (True, False)
        }

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        context = ([-1] * self._width + ids)[-self._width :]
        route = lambda choices: torch.multinomial(torch.softmax(choices, -1), 1)[:, 0]  # noqa: E731
        return int(self._sampler.sample(logits[None], torch.tensor([context]), route).token_ids[0])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its sum over contexts, unique ones where it deduplicates."""
        said = self._detectors[deduplicate].detect(ids)
        return said.score, said.num_scored_tokens, said.p_value


class SynthIdTable:
    """SynthID with a table: scored by transformers, marked by the synthid-text wheel, which draws from the top k."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        given = {
            "ngram_len": key.get("ngram_len", 5),
            "keys": key["keys"],
            "sampling_table_size": key.get("table_size", 65536),
            "sampling_table_seed": key.get("table_seed", 0),
            "context_history_size": key.get("context_history_size", 1024),
            "device": CPU,
        }
        wheel = load(references / "synthid-wheel", "synthid_text.logits_processing")
        self._sampler = wheel.SynthIDLogitsProcessor(**given, temperature=1.0, top_k=TOP_K)
        self._scorer = transformers.SynthIDTextWatermarkLogitsProcessor(**given)
        self._means = _mean_scores(references / "synthid-wheel")
        self.statistic = "mean"

    def begin(self) -> None:
        """Forget the text before."""
        self._sampler.state = None

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        updated, indices, _ = self._sampler.watermarked_call(torch.tensor([ids]), logits[None])
        return int(indices[0, draw(updated[0])])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its mean g over n-grams, those with a new context where it deduplicates."""
        text = torch.tensor([ids])
        g = self._scorer.compute_g_values(text)
        mask = self._scorer.compute_context_repetition_mask(text) if deduplicate else torch.ones(g.shape[:2])
        mask = mask.to(torch.int64).numpy()
        return float(self._means[self.statistic](g.numpy().astype(float), mask)[0]), int(mask.sum()), None


class SynthIdHashed(SynthIdTable):
    """SynthID with a hashed start, as in synthid-text's repository."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        source = references / "synthid-head" / "src"
        head = load(source, "synthid_text.logits_processing")
        self._sampler = self._scorer = head.SynthIDLogitsProcessor(
            ngram_len=key.get("ngram_len", 5),
            keys=key["keys"],
            context_history_size=key.get("context_history_size", 1024),
            temperature=1.0,
            top_k=TOP_K,
            device=CPU,
        )
        self._means = _mean_scores(source)
        self.statistic = "mean"


def _mean_scores(source: Path) -> dict[str, Any]:
    """Its means in double precision: the formula with numpy where it imports JAX, which would round to single."""
    sys.modules["jax"], sys.modules["jax.numpy"] = ModuleType("jax"), np
    sys.modules["jax"].numpy = np  # type: ignore[attr-defined] # the module is made here
    module = load(source, "synthid_text.detector_mean")
    return {"mean": module.mean_score, "weighted": module.weighted_mean_score}


class MarkLlm:
    """What MarkLLM's algorithms share: a configuration file, and a model and a tokenizer that are not there."""

    @staticmethod
    def load(key: dict[str, Any], references: Path, name: str, **settings: object) -> tuple[Any, Any]:
        """The module of an algorithm and an object of it."""
        module = load(references / "markllm", f"watermark.{name.lower()}.{name.lower()}")
        model = SimpleNamespace(
            model=None, tokenizer=NoTokenizer(), vocab_size=key["vocab_size"], device="cpu", gen_kwargs={}
        )
        config = getattr(module, f"{name}Config")
        made = config.__new__(config)
        vars(made).update(config_dict=settings, vocab_size=key["vocab_size"], device="cpu", transformers_config=model)
        made.generation_tokenizer, made.generation_model, made.gen_kwargs = model.tokenizer, None, {}
        made.initialize_parameters()
        return module, made


class Exponential(MarkLlm):
    """MarkLLM's EXP."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        self._width, self._vocabulary = key.get("context_width", 4), key["vocab_size"]
        settings = {"prefix_length": self._width, "hash_key": key["key"], "threshold": 1e-4, "sequence_length": 200}
        module, config = self.load(key, references, "EXP", **settings)
        self._exp = module.EXP(config)
        self._exp.config.top_k = TOP_K
        # It gives the p-value only; the sum of the scores is what it asks the gamma distribution about.
        self._heard: tuple[float, int] = (0.0, 0)
        module.scipy = SimpleNamespace(stats=SimpleNamespace(gamma=SimpleNamespace(sf=self._listen)))

    def _listen(self, total: float, count: int, **given: float) -> float:
        self._heard = float(total), int(count)
        return float(scipy.stats.gamma.sf(total, count, **given))

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        self._exp.utils.seed_rng(torch.tensor(ids))
        uniform = torch.rand(self._vocabulary, generator=self._exp.utils.rng)
        return int(self._exp.utils.exp_sampling(torch.softmax(logits, -1)[None], uniform[None])[0, 0])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its sum over all tokens; it has no deduplication."""
        del deduplicate
        if len(ids) <= self._width:
            raise ValueError("a p-value of no tokens")
        p = self._exp.detect_watermark(ids)["score"]
        return *self._heard, float(p)


class Dip(MarkLlm):
    """MarkLLM's DiP."""

    def __init__(self, key: dict[str, Any], references: Path) -> None:
        settings = {
            "gamma": key.get("gamma", 0.5),
            "alpha": 0.45,
            "prefix_length": key.get("context_width", 5),
            "z_threshold": 1.513,
            "ignore_history_generation": 0,
            "ignore_history_detection": 0,
        }
        module, config = self.load(key, references, "DIP", **settings)
        # Its configuration lost the line that makes the hash key; this is the line of the versions before.
        config.hash_key = random.Random(key["key"]).getrandbits(1024).to_bytes(128, "big")  # noqa: S311
        self._dip = module.DIP(config)
        self._score, self._heard = self._dip.utils._get_dip_score, torch.zeros(0)  # noqa: SLF001 - gives no count
        self._dip.utils._get_dip_score = self._listen  # noqa: SLF001

    def _listen(self, *given: object) -> torch.Tensor:
        self._heard = self._score(*given)
        return self._heard

    def begin(self) -> None:
        """Forget the text before."""
        self._dip.utils.state_indicator = 0
        self._dip.utils.cc_history.clear()

    def next(self, ids: list[int], logits: torch.Tensor) -> int:
        """A marked id."""
        return draw(self._dip.logits_processor(torch.tensor([ids]), logits[None])[0])

    def score(self, ids: list[int], *, deduplicate: bool) -> Found:
        """Its score over all tokens, the first one too, or all with a new context."""
        self._dip.utils.cc_history.clear()
        self._dip.config.ignore_history_detection = not deduplicate
        z = self._dip.detect_watermark(ids)["score"]
        return float(z), int((self._heard != -1).sum()), None


SCHEMES = {
    "hf_lefthash": HuggingFace,
    "hf_selfhash": HuggingFace,
    "unigram": Unigram,
    "exp_markllm": Exponential,
    "gumbel_philox": Philox,
    "gumbel_philox_dual": Philox,
    "synthid_table": SynthIdTable,
    "synthid_iv": SynthIdHashed,
    "dipmark": Dip,
}
"""All others are lm-watermarking's."""


def marked(reference: Any, vocabulary: int, count: int) -> list[int]:  # noqa: ANN401 - any of them
    """A prompt of random ids, then ids that the reference sampled from random logits."""
    ids, favourites = torch.randint(vocabulary, (PROMPT,)).tolist(), torch.randn(vocabulary) * 2
    getattr(reference, "begin", lambda: None)()
    for _ in range(count):
        ids.append(reference.next(ids, favourites + torch.randn(vocabulary)))
    return ids


def passage(reference: Any, vocabulary: int, length: int, sharpness: float) -> list[int]:  # noqa: ANN401
    """A prompt of random ids, then ids that the reference sampled from logits that have nothing in common."""
    ids = torch.randint(vocabulary, (PROMPT,)).tolist()
    reference.begin()
    while len(ids) < PROMPT + length:
        ids.append(reference.next(ids, sharpness * torch.randn(vocabulary)))
    return ids[PROMPT:]


def repeating(dice: np.random.Generator, vocabulary: int, length: int) -> list[int]:
    """Ids that repeat themselves: two ids only, a phrase over and over, or Zipf's law from id 0 on, mild or steep."""
    kind = dice.integers(4)
    if kind == 0:
        return [int(each) for each in dice.integers(0, 2, length)]
    if kind == 1:
        phrase = dice.integers(0, vocabulary, int(dice.integers(1, 30)))
        return [int(phrase[place % len(phrase)]) for place in range(length)]
    chances = 1 / np.arange(1, vocabulary + 1) ** (1.0 if kind == 2 else 1.5)  # noqa: PLR2004 - the third kind
    return [int(each) for each in dice.choice(vocabulary, length, p=chances / chances.sum())]


def length_of(dice: np.random.Generator) -> int:
    """A length: one in five is very short, the others spread over the orders of magnitude."""
    return int(dice.integers(1, 12) if dice.random() < 1 / 5 else math.exp(dice.uniform(math.log(12), 6)))


def made(reference: Any, job: dict[str, Any]) -> list[list[int]]:  # noqa: ANN401 - any of them
    """The texts of a job."""
    dice, vocabulary = np.random.default_rng(job["seed"]), job["key"]["vocab_size"]
    torch.manual_seed(job["seed"])
    if "passages" in job:
        return [passage(reference, vocabulary, job["length"], job["sharpness"]) for _ in range(job["passages"])]
    carrier, texts = marked(reference, vocabulary, job["marked"]), []
    for number, length in enumerate(job.get("lengths") or [length_of(dice) for _ in range(job["count"])]):
        ids = [int(each) for each in dice.integers(0, vocabulary, length)]
        if number % 3 == 0:
            start = int(dice.integers(max(1, len(carrier) - length + 1)))
            ids = [*carrier[start : start + length], *ids[len(carrier) - start :]]
        texts.append(repeating(dice, vocabulary, length) if number % 3 == 2 else ids)  # noqa: PLR2004 - the last third
    return texts


def asked(reference: Any, ids: list[int], *, deduplicate: bool) -> Found | None:  # noqa: ANN401 - any of them
    """What a reference says of a text; null where it refuses one that is too short for it."""
    try:
        found: Found = reference.score(ids, deduplicate=deduplicate)
    except (ValueError, RuntimeError, ZeroDivisionError, IndexError):
        return None
    return found if found[1] and math.isfinite(found[0]) else None


def answer(job: dict[str, Any], references: Path) -> dict[str, Any]:
    """Score the texts of a job, after making them where it brings none."""
    key = job["key"]
    reference = SCHEMES.get(key["scheme"], Kgw)(key, references)
    if "statistic" in job:
        reference.statistic = job["statistic"]
    texts = job.get("texts") or made(reference, job)
    said: dict[str, Any] = {"texts": texts}
    for mode in ("reference", "none"):
        started = time.process_time()
        said[mode] = [asked(reference, ids, deduplicate=mode == "reference") for ids in texts]
        said.setdefault("seconds", time.process_time() - started)
    return said


def main() -> None:
    """Answer all jobs."""
    references, jobs = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(1)
    print(json.dumps([answer(job, references) for job in jobs]))


if __name__ == "__main__":
    main()
