"""The ways in which editors save: the file under its name is always the whole old or the whole new one."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.stack.processes import run

VIM = shutil.which("vim") or shutil.which("vim.tiny")


@pytest.mark.skipif(VIM is None, reason="vim is not installed")
@pytest.mark.parametrize("copy", ["no", "yes", "auto"])
def test_vim_saves_with_a_backup(places, copy):
    file = places.laptop / "file"
    file.write_text("one\ntwo\n")
    file.chmod(0o640)
    inode = file.stat().st_ino
    run(
        *(VIM, "-es", "-N", "-u", "NONE", "-i", "NONE"),
        *("-c", f"set backup backupskip= writebackup fsync backupcopy={copy} directory=."),
        *("-c", "%s/two/three/", "-c", "wq", file),
    )
    for seen in (places.laptop, places.server, places.desktop):
        assert (seen / "file").read_text() == "one\nthree\n"
        assert (seen / "file~").read_text() == "one\ntwo\n"
        assert (seen / "file").stat().st_mode & 0o777 == 0o640
        assert sorted(os.listdir(seen)) == ["file", "file~"]
    if copy == "yes":
        assert (places.server / "file").stat().st_ino == inode
    elif copy == "no":
        assert (places.server / "file~").stat().st_ino == inode


def save(path, text):
    """What most editors do: a new file beside the old, made safe, takes its name."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        backup = path.with_name(f"{path.name}~")
        backup.unlink(missing_ok=True)
        os.link(path, backup)
    draft.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def test_a_new_file_takes_the_name_again_and_again(places):
    with (places.laptop / "file").open("w+") as old:
        old.write("before")
        old.flush()
        for number in range(10):
            save(places.laptop / "file", f"text {number}")
            assert (places.laptop / "file").read_text() == f"text {number}"
            assert (places.server / "file").read_text() == f"text {number}"
        assert (places.server / "file~").read_text() == "text 8"
        # Who has the first one open still has it.
        old.seek(0)
        assert old.read() == "before"
    assert sorted(os.listdir(places.server)) == ["file", "file~"]
