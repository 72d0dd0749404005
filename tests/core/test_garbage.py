"""Python's search for cycles is off where we say so, and only there."""

from __future__ import annotations

import gc

import pytest

from core.garbage import no_cycles


def test_the_search_is_off_inside_and_on_again_after_an_error():
    @no_cycles()
    def inside(fails):
        assert not gc.isenabled()
        return 1 / fails

    for fails in (1, 0, 1):  # a decorated function may be called again
        if fails:
            assert inside(fails) == 1
        else:
            with pytest.raises(ZeroDivisionError):
                inside(fails)
        assert gc.isenabled()


def test_who_has_switched_it_off_keeps_it_off():
    gc.disable()
    try:
        with no_cycles():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
