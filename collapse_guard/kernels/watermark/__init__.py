"""Compiled loops over token ids: the keyed draws of watermark schemes."""
