"""tar and rsync there and back: nothing is lost but what the tool itself leaves out."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.mounted.programs.trees import SPARSE_SIZE, plant, survey
from tests.stack.processes import run

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not shutil.which("setfacl"), reason="the package acl is not installed"
)
TAR = ("tar", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=posix", "--sparse", "-p")


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    plant(tree)
    return tree


def test_tar_there_and_back(places, tree, tmp_path):
    run(*TAR, "-cf", tmp_path / "out.tar", "-C", tree, "--exclude=./socket", ".")
    (places.laptop / "copy").mkdir()
    run(*TAR, "-xf", tmp_path / "out.tar", "-C", places.laptop / "copy")
    expected = survey(tree, sockets=False)
    for seen in (places.server, places.laptop, places.desktop):
        assert survey(seen / "copy") == expected
    assert (places.server / "copy" / "sparse").stat().st_blocks * 512 < SPARSE_SIZE / 4

    run(*TAR, "-cf", tmp_path / "back.tar", "-C", places.desktop / "copy", ".")
    (tmp_path / "back").mkdir()
    run(*TAR, "-xf", tmp_path / "back.tar", "-C", tmp_path / "back")
    assert survey(tmp_path / "back") == expected


def test_rsync_there_and_back_and_then_it_has_nothing_to_do(places, tree, tmp_path):
    rsync = ("rsync", "-aHAXS", "--numeric-ids")
    run(*rsync, f"{tree}/", places.laptop / "copy")
    expected = survey(tree)
    for seen in (places.server, places.laptop):
        assert survey(seen / "copy") == expected
    assert run(*rsync, "--dry-run", "--checksum", "--itemize-changes", f"{tree}/", places.laptop / "copy") == ""
    assert run(*rsync, "--dry-run", "--itemize-changes", f"{places.desktop}/copy/", tree) == ""

    run(*rsync, f"{places.desktop}/copy/", tmp_path / "back")
    assert survey(tmp_path / "back") == expected

    (tree / "dir" / "data").write_bytes(b"less")
    (tree / "empty").unlink()
    run(*rsync, "--delete", "--inplace", f"{tree}/", places.laptop / "copy")
    expected, seen = survey(tree), survey(places.server / "copy")
    assert {path: traits for path, traits in seen.items() if path} == {
        path: traits
        for path, traits in expected.items()
        if path  # rsync sets the time of the top before it deletes
    }


def test_cp_du_find_and_mv_agree_with_the_local_disk(places, tree):
    run("cp", "-a", tree, places.laptop / "copy")
    assert survey(places.server / "copy") == survey(tree)
    names = run("find", ".", "-printf", r"%p %y %s %T@ %l\n", cwd=tree)
    assert sorted(run("find", ".", "-printf", r"%p %y %s %T@ %l\n", cwd=places.laptop / "copy")) == sorted(names)
    assert run("du", "-s", ".", cwd=places.laptop / "copy") == run("du", "-s", ".", cwd=places.server / "copy")
    run("mv", places.laptop / "copy", places.laptop / "moved")
    assert survey(places.server / "moved") == survey(tree)
    run("mv", places.laptop / "moved", tree.parent / "back")  # across file systems: it copies and deletes
    assert survey(tree.parent / "back") == survey(tree)
    assert os.listdir(places.server) == []
    run("cp", "-a", tree.parent / "back", places.laptop / "again")
    run("rm", "-r", places.laptop / "again")
    assert os.listdir(places.server) == []
