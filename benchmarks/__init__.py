"""Measure time and memory, ours beside a peer's on the same files: `python -m benchmarks --help`."""
