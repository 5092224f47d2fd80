"""The place of the captured streams and the conformance vectors: `../shared`, beside the clone, if it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parent.parent.parent / "shared"
CORPUS = SHARED / "corpus"
VECTORS = SHARED / "sse_vectors" / "vectors.json"

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="no ../shared/corpus beside this clone")
needs_vectors = pytest.mark.skipif(not VECTORS.is_file(), reason="no ../shared/sse_vectors beside this clone")


def streams() -> list[Path]:
    """The captured bodies, none if the folder is absent."""
    return sorted(CORPUS.glob("*.sse"))


def vectors() -> list[dict]:
    """The conformance vectors, none if the file is absent."""
    return json.loads(VECTORS.read_text(encoding="utf-8")) if VECTORS.is_file() else []
