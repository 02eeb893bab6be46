"""An agent that runs as root and acts as the callers of a client: its kernel decides as for local programs."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.agent import system_calls
from peer.agent.access_policy import AccessRules, ClientRule
from peer.agent.acting_as import ActingAs, can_preserve_identity
from schema.envelope import Address
from schema.requests import Attach, Caller, LockMode
from tests.conformance.driver import Files, refused
from tests.peer.agent.conftest import LAPTOP, PHONE, components, needs_root

pytestmark = needs_root

ALICE = Caller(1001, 1001, (1001, 2000), 0o022)
BOB = Caller(1002, 1002, (1002,), 0o022)
ROOT = Caller(0, 0, (0,), 0o022)


def thread_state() -> tuple:
    """All of this thread that acting as somebody touches."""
    status = Path("/proc/thread-self/status").read_text(encoding="ascii")
    wanted = ("Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:")
    umask = os.umask(0)
    os.umask(umask)
    return umask, [line for line in status.splitlines() if line.startswith(wanted)]


@pytest.fixture(autouse=True)
def _nothing_sticks():
    before = thread_state()
    yield
    assert thread_state() == before


@pytest.fixture
def dispatcher(start, export: Path):
    export.chmod(0o777)
    rules = AccessRules((components(export),), clients=(ClientRule("laptop", preserve_identity=True),))
    return start(rules)


@pytest.fixture
def acting(dispatcher, export):
    """The export as a caller of the laptop sees it."""
    opened = []

    def as_caller(caller: Caller) -> Files:
        files = Files(dispatcher.view(LAPTOP), components(export), caller)
        opened.append(files)
        return files

    yield as_caller
    for files in opened:
        files.close_all()


def test_it_is_said_on_attaching(dispatcher, export):
    request = Attach(components(export))
    assert dispatcher.view(LAPTOP).attach(request, ALICE).preserves_identity
    assert not dispatcher.view(PHONE).attach(request, ALICE).preserves_identity


def test_a_client_whose_identity_is_not_preserved_acts_as_the_agent(dispatcher, export):
    files = Files(dispatcher.view(PHONE), components(export), ALICE)
    assert (files.mkdir(b"d").uid, files.mkdir(b"e").gid) == (0, 0)


def test_what_is_new_belongs_to_the_caller(acting):
    files = acting(ALICE)
    made = [
        files.mkdir(b"d"),
        files.stat(files.create(b"f")),
        files.symlink(b"x", b"l"),
        files.mknod(b"p", stat.S_IFIFO | 0o666),
    ]
    assert {(one.uid, one.gid) for one in made} == {(1001, 1001)}


def test_new_files_in_a_set_group_id_directory_get_its_group(acting, export):
    (export / "d").mkdir()
    os.chown(export / "d", 0, 2000)
    (export / "d").chmod(0o2777)
    files = acting(ALICE)
    assert (files.stat(files.create(b"d/f")).uid, files.stat(b"d/f").gid) == (1001, 2000)
    made = files.mkdir(b"d/e")
    assert (made.gid, bool(made.mode & stat.S_ISGID)) == (2000, True)
    outsider = acting(BOB)
    assert not outsider.stat(outsider.create(b"d/g", mode=0o2775)).mode & stat.S_ISGID


def test_permissions_are_the_callers(acting, export):
    (export / "secret").write_bytes(b"content")
    (export / "secret").chmod(0o600)
    (export / "shut").mkdir(0o700)
    (export / "shut" / "f").touch()
    files = acting(ALICE)
    for attempt in (
        lambda: files.open(b"secret", os.O_RDONLY),
        lambda: files.change(b"secret", size=0),
        lambda: files.access(b"secret", os.R_OK),
        lambda: files.stat(b"shut/f"),
        lambda: files.names(b"shut"),
        lambda: files.unlink(b"shut/f"),
        lambda: files.create(b"shut/g"),
        lambda: files.rename(b"shut", b"shut/f/x"),
    ):
        with refused("EACCES"):
            attempt()
    for attempt in (lambda: files.change(b"secret", mode=0o666), lambda: files.change(b"secret", mtime_ns=5)):
        with refused("EPERM"):
            attempt()
    root = acting(ROOT)
    assert root.get(b"secret") == b"content"
    root.access(b"secret", os.R_OK)


def test_supplementary_groups_count(acting, export):
    (export / "f").write_bytes(b"content")
    os.chown(export / "f", 0, 2000)
    (export / "f").chmod(0o640)
    assert acting(ALICE).get(b"f") == b"content"
    acting(ALICE).access(b"f", os.R_OK)
    with refused("EACCES"):
        acting(BOB).open(b"f", os.O_RDONLY)
    with refused("EACCES"):
        acting(BOB).access(b"f", os.R_OK)


def test_owners_and_groups_are_given_away_as_chown_has_it(acting):
    files = acting(ALICE)
    files.create(b"f")
    assert files.change(b"f", gid=2000).gid == 2000
    for wanted in ({"gid": 3000}, {"uid": 1002}):
        with refused("EPERM"):
            files.change(b"f", **wanted)
    assert acting(ROOT).change(b"f", uid=1002, gid=3000).uid == 1002


def test_a_sticky_directory_protects_from_others(acting, export):
    (export / "tmp").mkdir()
    (export / "tmp").chmod(0o1777)
    acting(ALICE).create(b"tmp/f")
    for attempt in (lambda: acting(BOB).unlink(b"tmp/f"), lambda: acting(BOB).rename(b"tmp/f", b"tmp/g")):
        with refused("EPERM", "EACCES"):
            attempt()
    acting(ALICE).unlink(b"tmp/f")


def test_set_id_bits_go_when_another_writes(acting, export):
    for name, caller, stays in ((b"a", ALICE, False), (b"r", ROOT, True)):
        (export / name.decode()).touch()
        (export / name.decode()).chmod(0o6777)
        files = acting(caller)
        handle = files.open(name, os.O_WRONLY)
        files.write(handle, 0, b"x")
        assert bool(files.stat(name).mode & 0o6000) is stays


def test_chown_clears_set_id_bits(acting):
    files = acting(ALICE)
    files.create(b"f")
    files.change(b"f", mode=0o6755)
    assert files.change(b"f", gid=2000).mode & 0o7777 == 0o755


@pytest.mark.parametrize("name", [b"security.capability", b"trusted.x", b"security.x"])
def test_no_right_of_the_agent_is_lent_but_those_on_files(acting, export, name):
    files = acting(ALICE)
    files.create(b"f", mode=0o777)
    value = bytes.fromhex("0100000280000000000000000000000000000000")  # cap_setuid, a way to become root
    with refused("EPERM", "EOPNOTSUPP"):
        files.setxattr(b"f", name, value)
    with refused("EPERM"):
        files.mknod(b"device", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    assert b"security.capability" not in files.xattrs(b"f")


def test_root_of_the_client_is_root(acting):
    files = acting(ROOT)
    files.mknod(b"device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    files.setxattr(b"device", b"trusted.x", b"y")
    assert files.getxattr(b"device", b"trusted.x") == b"y"


def test_the_umask_goes_with_the_identity(acting):
    files = acting(Caller(1001, 1001, (), 0o077))
    assert stat.S_IMODE(files.mkdir(b"d").mode) == 0o700


def test_a_handle_keeps_the_rights_that_it_was_opened_with(acting, export):
    files = acting(ALICE)
    handle = files.create(b"f", os.O_RDWR, 0o400)
    files.write(handle, 0, b"content")
    assert files.read(handle) == b"content"
    files.change(handle, size=3)
    with refused("EACCES"):
        files.change(b"f", size=0)
    files.lock(handle, 1, LockMode.EXCLUSIVE, 0, 1)
    (export / "f").chmod(0)
    files.lock(handle, 2, LockMode.SHARED, 100, 1)


def test_a_failed_request_leaves_no_identity_behind(acting):
    before = thread_state()
    with refused("ENOENT"):
        acting(ALICE).stat(b"nothing")
    assert thread_state() == before
    assert acting(ROOT).mkdir(b"d").uid == 0


def test_an_id_that_nobody_can_have_is_refused(acting):
    for caller in (Caller(2**32 - 1, 1001), Caller(1001, 2**32 - 1)):
        with refused("EPERM"):
            acting(caller).mkdir(b"d")
    assert acting(ROOT).mkdir(b"d").uid == 0


def test_threads_do_not_mix_callers_up(dispatcher, export):
    def work(number: int) -> set[tuple[int, int, int]]:
        umask = 0o077 if number % 2 else 0o002
        caller = Caller(1000 + number, 2000 + number, (3000 + number,), umask)
        files = Files(dispatcher.view(Address("laptop", number)), components(export), caller)
        found = set()
        for step in range(50):
            made = files.mkdir(b"%d-%d" % (number, step))
            found.add((made.uid, made.gid, stat.S_IMODE(made.mode)))
            with contextlib.suppress(OSError):
                os.lstat(export)
        return found

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(work, range(1, 9)), 1):
            assert found == {(1000 + number, 2000 + number, 0o777 & ~(0o077 if number % 2 else 0o002))}


# --- acting_as itself


def test_inside_the_thread_is_the_caller_and_other_threads_are_not():
    acting = ActingAs()
    elsewhere = ThreadPoolExecutor(1)
    before = elsewhere.submit(thread_state).result(5)
    with acting.umask_of(ALICE), acting.identity_of(Caller(1001, 1002, (7, 8), 0o077)):
        umask, (uids, gids, groups, _, permitted, effective) = thread_state()
        assert elsewhere.submit(thread_state).result(5) == before
    elsewhere.shutdown()
    assert umask == 0o022
    assert (uids.split()[4], gids.split()[4], groups.split()[1:]) == ("1001", "1002", ["7", "8"])
    assert int(effective.split()[1], 16) == 0
    assert int(permitted.split()[1], 16) != 0


def test_a_right_that_the_agent_gave_up_does_not_come_back():
    def run() -> bool:
        before = system_calls.capget()
        fewer = before._replace(effective=before.effective & ~(1 << 3 | 1 << 18))  # CAP_FOWNER, CAP_SYS_CHROOT
        system_calls.capset(fewer)
        with ActingAs().identity_of(ALICE):
            pass
        return system_calls.capget() == fewer != before

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run).result(5)


def test_nothing_is_done_where_nothing_changes(monkeypatch):
    acting = ActingAs()
    monkeypatch.setattr(system_calls, "setfsuid", lambda _: pytest.fail("not needed"))
    with acting.identity_of(Caller(0, os.getegid(), tuple(os.getgroups()))):
        pass


def test_a_thread_that_cannot_be_put_back_ends_the_process(monkeypatch):
    class AbortedError(Exception):
        pass

    def abort():
        raise AbortedError

    def refuse(_):
        raise OSError(errno.EPERM, "")

    acting = ActingAs()
    monkeypatch.setattr(os, "abort", abort)

    def act() -> None:
        with acting.identity_of(ALICE):
            monkeypatch.setattr(system_calls, "setgroups_of_thread", refuse)

    caught = []

    def run() -> None:
        try:
            act()
        except AbortedError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(5)
    assert len(caught) == 1


def test_without_the_capabilities_nobody_is_preserved(monkeypatch):
    assert can_preserve_identity()
    monkeypatch.setattr(system_calls, "capget", lambda: system_calls.Capabilities(0, 0, 0))
    assert not can_preserve_identity()
