"""What `import sansio_step` adds to `import msgspec`, each time in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .targets import IMPORT_SECONDS

# A parser without I/O has no use for these, and every program that embeds it would pay for them.
UNWANTED = ("asyncio", "ssl", "http")

_SCRIPT = f"""
import sys, json, time
import msgspec
before = time.perf_counter()
import sansio_step
after = time.perf_counter()
print(json.dumps([after - before, [name for name in {UNWANTED!r} if name in sys.modules]]))
"""


@dataclass(frozen=True)
class StartUp:
    seconds: float
    unwanted: list[str]

    @property
    def met(self) -> bool:
        return self.seconds <= IMPORT_SECONDS and not self.unwanted

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"target": IMPORT_SECONDS, "met": self.met}


def measure(times: int = 11) -> StartUp:
    # Compiled modules are kept, as those of an installed package are, even if the environment says otherwise:
    # compiling would be three quarters of the time. The first run fills the cache.
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        _, *runs = [_once(environment) for _ in range(times + 1)]
    return StartUp(median(seconds for seconds, _ in runs), runs[0][1])


def _once(environment: dict[str, str]) -> tuple[float, list[str]]:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True, env=environment)
    seconds, unwanted = json.loads(done.stdout)
    return seconds, unwanted
