"""The peers: `python peer_metrics.py FILE` in an environment with nltk and vendi-score.

FILE holds `offsets` and `hashes` of documents, how many of them are compared `all` with all others, which ones are
`sampled` from the whole, and `features`, one row per document, for the Vendi score. Prints what the peers say and the
seconds of processor time that they take.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from vendi_score import vendi

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Compute BLEU against all others, and the score from features and from all pairs."""
    given = np.load(sys.argv[1])
    ends, tokens = given["offsets"].tolist(), given["hashes"].tolist()
    documents = [tokens[start:stop] for start, stop in itertools.pairwise(ends)]
    few = documents[: int(given["all"])]
    rows = given["features"]
    said = {
        "all": timed(lambda: [bleu(place, few) for place in range(len(few))]),
        "sampled": timed(lambda: [bleu(place, documents) for place in given["sampled"].tolist()]),
        "vendi_dual": timed(lambda: float(vendi.score_dual(rows, normalize=False))),
        "vendi_pairs": timed(lambda: float(vendi.score_X(rows, normalize=False))),
    }
    print(json.dumps(said))


def bleu(place: int, documents: list[list[int]]) -> float:
    """One document with all others as references."""
    others = documents[:place] + documents[place + 1 :]
    return float(sentence_bleu(others, documents[place], smoothing_function=SmoothingFunction().method1))


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """What work gives, and its seconds of processor time."""
    started = time.process_time()
    value = work()
    return {"value": value, "seconds": time.process_time() - started}


if __name__ == "__main__":
    main()
