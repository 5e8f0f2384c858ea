"""Compiled loops over hashes of tokens: what metrics count."""
