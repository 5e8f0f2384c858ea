"""A classifier trained on one's own human reservoir and known synthetic text.

It is linear over hashed n-grams of the beginning of a text, calibrated on texts that it was not trained on, and says
nothing where it does not know. It may send a document to review; it never drops one alone, and its silence never keeps
one: no evidence is not human.
"""

from __future__ import annotations

from collapse_guard.provenance.classifier.model import COLUMNS, Model, Settings
from collapse_guard.provenance.classifier.training import train

__all__ = ["COLUMNS", "Model", "Settings", "train"]
