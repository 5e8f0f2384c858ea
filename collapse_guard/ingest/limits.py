"""Every cap on what one input file may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Caps on one input file and on the worker process that reads it.

    Args:
        record_bytes: Largest record, decompressed: a WARC record, a line, a CSV record, a Parquet text value. A JSON
            file that is one array counts as one record here.
        ratio: Largest decompressed / compressed bytes of one gzip member or zstd frame, beyond the first 4 MiB.
        records: Most records of one file.
        stall_seconds: A worker without progress for this long is killed; the record it was at is quarantined.
        memory_bytes: Resident memory of one worker process, above which it dies and the record is quarantined. Its
            imports alone take about 110 MiB; to give a record of `record_bytes` a chance, allow 6 times its size more.
    """

    record_bytes: int = 64 * 2**20
    ratio: int = 1000
    records: int = 10**9
    stall_seconds: float = 10.0
    memory_bytes: int = 512 * 2**20
