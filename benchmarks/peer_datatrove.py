"""The peer: `python peer_datatrove.py FILE read|write|extract FOLDER` in an environment with datatrove 0.10.1."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.readers import JsonlReader, ParquetReader, WarcReader
from datatrove.pipeline.writers import ParquetWriter
from loguru import logger

READERS = {".jsonl": JsonlReader, ".parquet": ParquetReader, ".warc": WarcReader}


def main() -> None:
    """Run one pipeline over one file and print its seconds without imports, and its documents."""
    path, work, folder = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    logger.remove()
    reader = next(kind for suffix, kind in READERS.items() if suffix in path.suffixes)
    steps: list[Any] = [reader(str(path.parent), glob_pattern=path.name)]
    if work == "extract":
        steps.append(Trafilatura(timeout=10))
    if work != "read":
        steps.append(ParquetWriter(folder, compression="zstd"))
    started = time.perf_counter()
    documents: Any = None
    for step in steps:
        documents = step.run(documents, rank=0, world_size=1)
    count = sum(1 for _ in documents)
    print(json.dumps({"seconds": time.perf_counter() - started, "documents": count}))


if __name__ == "__main__":
    main()
