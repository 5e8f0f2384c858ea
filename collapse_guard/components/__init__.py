"""The Dagster components; the only package that imports dagster."""

from __future__ import annotations

from collapse_guard.components.corpus_guard import CorpusGuard
from collapse_guard.components.generation_monitor import GenerationMonitor
from collapse_guard.components.human_reservoir import HumanReservoir
from collapse_guard.components.provenance_classifier import ProvenanceClassifier
from collapse_guard.components.training_demo import TrainingDemo

__all__ = ["CorpusGuard", "GenerationMonitor", "HumanReservoir", "ProvenanceClassifier", "TrainingDemo"]
