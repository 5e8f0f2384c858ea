"""Loops that put documents in the order in which a mix takes them."""
