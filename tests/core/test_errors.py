from __future__ import annotations

import errno
import os

import pytest

from core.errors import NoRoom, UserError, is_full, no_room


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "your quota is used up"),
                                           (errno.EFBIG, "ulimit -f")])
def test_every_kind_of_no_room_is_told_with_its_folder(tmp_path, number, words):
    error = no_room(OSError(number, os.strerror(number), str(tmp_path / "a" / "b.bin")))
    assert isinstance(error, NoRoom) and isinstance(error, UserError)
    assert f"no room left in {tmp_path}:" in str(error) and words in str(error)
    assert "are free there" in str(error) and "b.bin" not in str(error)


def test_the_cause_counts_and_nothing_else_does():
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise RuntimeError("a library's own") from error
    except RuntimeError as error:
        assert is_full(error) and "no room left in " in str(no_room(error))
    assert no_room(OSError(errno.EACCES, "no")) is None and no_room(ValueError("x")) is None and not is_full(None)


def test_a_stage_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    from pathlib import Path

    from core.stage import run_cli

    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())

    def main(instance, params):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run_cli("track", main, ["synthetic-en"]) == 2
    assert capsys.readouterr().err.startswith("track synthetic-en: no room left in ")

    def other(instance, params):
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        run_cli("track", other, ["synthetic-en"])
