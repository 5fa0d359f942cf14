"""The memory of a process at its highest, for programs that tests start."""

import re
import sys
from pathlib import Path

import pytest

#: Code that prints the bytes. Those of ``ru_maxrss`` begin with those of the parent.
PRINT_PEAK = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import peaks
print(peaks.peak_bytes())
"""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")


def peak_bytes() -> int:
    """Of this process, so far."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])
