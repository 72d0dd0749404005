"""core.memory: freed blocks come back without new pages."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

BLOCK = 40 << 20
LOOP = """
import ctypes, resource, sys
from core.memory import keep_freed_memory
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    b"x" * int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
def test_blocks_that_are_freed_and_asked_for_again_keep_their_pages():
    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", LOOP, how, str(BLOCK)], check=True, capture_output=True, text=True).stdout)

    pages = BLOCK // resource.getpagesize()
    assert faults("keep") < 3 * pages < 15 * pages < faults("as it is")
