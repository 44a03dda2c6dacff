"""Python imports this at its start when its folder is on PYTHONPATH: the process gets a clock that the driver can step.

CHAOS_CLOCK names a file of eight bytes, a float: the seconds that `time.time` and `time.time_ns` are ahead. Monotonic
clocks stay true, as they do when a machine's clock is stepped.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path


def _step_with(path: Path) -> None:
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    seconds, nanoseconds, form = time.time, time.time_ns, struct.Struct("d")
    time.time = lambda: seconds() + form.unpack_from(offset)[0]
    time.time_ns = lambda: nanoseconds() + int(form.unpack_from(offset)[0] * 1e9)


if "CHAOS_CLOCK" in os.environ:
    _step_with(Path(os.environ["CHAOS_CLOCK"]))
