"""What ends the reading of one input file early."""

from __future__ import annotations


class UnreadableFileError(Exception):
    """No record of the file can be read; it is quarantined as one entry.

    Args:
        reason: One word.
        detail: One sentence.
        records: How many records it claims to hold.
    """

    def __init__(self, reason: str, detail: str, records: int = 1) -> None:
        super().__init__(detail)
        self.reason = reason
        self.records = records
