"""Files are written whole or not at all, and nothing is left beside them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from alphazoo.files import write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(OSError, match="full"), write_atomically(file) as beside:  # noqa: PT012
        beside.write_text("half")
        raise OSError("full")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_content_is_on_the_disk_before_it_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed while the old one is still there, the folder after the move."""
    file, seen = tmp_path / "a.txt", []
    file.write_text("old")
    flush = os.fsync

    def fsync(number: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
        seen.append((is_folder, file.read_text()))
        flush(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with write_atomically(file) as beside:
        beside.write_text("new")
    assert seen == [(False, "old"), (True, "new")]


def test_a_file_is_as_readable_as_others(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "a.txt") as beside:
        beside.write_text("a")
    (tmp_path / "b.txt").write_text("b")
    first, second = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path))
    assert first == second


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from alphazoo.files import write_atomically
with write_atomically(Path({str(tmp_path / "a[1].txt")!r})) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(names(tmp_path)) == 1
    other = tmp_path / ".a[1].txt.999999999@elsewhere.12345678"  # of another machine
    other.write_text("")
    with write_atomically(tmp_path / "a[1].txt") as beside:
        beside.write_text("new")
        with write_atomically(tmp_path / "a[1].txt"):  # that of this process, which runs, stays
            assert beside.is_file()
    assert names(tmp_path) == [other.name, "a[1].txt"]


def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    with (
        write_atomically(tmp_path / "a.txt") as first,
        write_atomically(tmp_path / "a.txt") as second,
    ):
        assert first != second
