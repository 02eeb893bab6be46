from __future__ import annotations

import os
import socket

import pytest

from scripts.trial.checks import check_directories, check_fuse, check_home, check_ports
from scripts.trial.errors import TrialError
from scripts.trial.layout import PORTS, Layout, Plan


@pytest.fixture
def free_port():
    """A port of which the PORTS from it on are free now."""
    for first in range(20_000, 30_000, PORTS):
        try:
            check_ports(first)
        except TrialError:
            continue
        return first
    raise AssertionError("no free ports")


def test_a_missing_fuse_device_is_one_sentence_with_the_remedy(tmp_path):
    with pytest.raises(TrialError, match="is missing: load it with `modprobe fuse`"):
        check_fuse(tmp_path / "fuse")


def test_a_machine_without_fusermount_is_told_which_package(tmp_path, monkeypatch):
    (tmp_path / "fuse").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrialError, match="install the package fuse3"):
        check_fuse(tmp_path / "fuse")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open anything")
def test_a_fuse_device_that_is_closed_to_us_is_said(tmp_path):
    (tmp_path / "fuse").touch(mode=0)
    with pytest.raises(TrialError, match="cannot be opened: Permission denied"):
        check_fuse(tmp_path / "fuse")


@pytest.mark.parametrize("offset", range(PORTS))
def test_a_port_in_use_is_named_with_its_program(free_port, offset):
    with (
        socket.create_server(("127.0.0.1", free_port + offset)),
        pytest.raises(TrialError, match=rf"port {free_port + offset} is in use by .*process {os.getpid()}.*--port"),
    ):
        check_ports(free_port)
    check_ports(free_port)


def test_the_export_must_be_a_directory(tmp_path):
    (tmp_path / "file").touch()
    for export in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(TrialError, match="is not a directory"):
            check_directories(Plan(export, tmp_path / "mount", 7420))
    assert not (tmp_path / "mount").exists()


def test_a_mount_point_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "mine").touch()
    with pytest.raises(TrialError, match="mount is not empty"):
        check_directories(Plan(tmp_path / "export", tmp_path / "mount", 7420))
    assert (tmp_path / "mount" / "mine").exists()


def test_a_mount_point_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "mount").touch()
    with pytest.raises(TrialError, match="cannot be used"):
        check_directories(Plan(tmp_path / "export", tmp_path / "mount", 7420))


def test_what_is_mounted_already_is_not_mounted_over(tmp_path):
    (tmp_path / "export").mkdir()
    with pytest.raises(TrialError, match="something is mounted at /proc already"):
        check_directories(Plan(tmp_path / "export", type(tmp_path)("/proc"), 7420))


@pytest.mark.parametrize(("export", "mount"), [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_export_and_mount_must_not_lie_in_each_other(tmp_path, export, mount):
    (tmp_path / export).mkdir(parents=True)
    with pytest.raises(TrialError, match="lie in each other"):
        check_directories(Plan(tmp_path / export, tmp_path / mount, 7420))


def test_a_missing_mount_point_is_made(tmp_path):
    (tmp_path / "export").mkdir()
    check_directories(Plan(tmp_path / "export", tmp_path / "x" / "mount", 7420))
    assert (tmp_path / "x" / "mount").is_dir()


@pytest.mark.parametrize("name", ["100%", 'a"b', "a\\b", "a\nb"])
def test_a_home_that_supervisord_cannot_name_is_one_sentence(tmp_path, name):
    with pytest.raises(TrialError, match="set REMOTEFS_HOME to a directory without"):
        check_home(Layout(tmp_path / name))


def test_a_home_that_is_too_long_for_a_socket_is_one_sentence(tmp_path):
    with pytest.raises(TrialError, match="too long for a socket: set REMOTEFS_HOME to a shorter directory"):
        check_home(Layout(tmp_path / ("x" * 100)))
    check_home(Layout(type(tmp_path)("/home/some body/.local/state/remotefs/quickstart")))
