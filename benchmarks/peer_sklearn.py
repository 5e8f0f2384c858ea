"""The peer: `python peer_sklearn.py FILE` in an environment with scikit-learn and pyarrow.

Hashed n-grams of characters and words and a logistic regression, as its documentation shows them. FILE has the columns
text, synthetic and fold. Prints the log-odds of every text by the model of the other folds, and the seconds of
processor time that scoring all texts takes.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

WINDOW, BUCKETS, COST = 1_500, 2**20, 10


def main() -> None:
    """Train and test on every fold."""
    table = pq.read_table(sys.argv[1])
    texts = [text[:WINDOW] for text in table["text"].to_pylist()]
    synthetic, folds = table["synthetic"].to_numpy(), table["fold"].to_numpy()
    vectors = make_union(
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=BUCKETS),
        HashingVectorizer(ngram_range=(1, 2), n_features=BUCKETS),
    )
    counted = vectors.transform(texts)
    logits = np.zeros(len(texts))
    for fold in np.unique(folds):
        model = LogisticRegression(C=COST, class_weight="balanced", max_iter=1_000)
        model.fit(counted[folds != fold], synthetic[folds != fold])
        logits[folds == fold] = model.decision_function(counted[folds == fold])
    started = time.process_time()
    model.decision_function(vectors.transform(texts))
    print(json.dumps({"seconds": time.process_time() - started, "logits": logits.tolist()}))


if __name__ == "__main__":
    main()
