"""Marking of one's own output, so that the next scrape can leave it out: whatever is written here, the scanner reads.

`finished` and `images` mark what is there already; `generators` and `adapters` mark text while a model writes it.
"""
