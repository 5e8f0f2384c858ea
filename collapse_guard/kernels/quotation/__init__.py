"""Loops that find what texts quote from the evaluation split."""
