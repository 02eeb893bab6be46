"""The agent touches a path only through its confined root: elsewhere, no call that takes a path is even written."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import modules

# What may open or ask for files by name, and why.
ALLOWED = {
    "peer.agent.confined_root": "it is the confinement",
    "peer.agent.system_calls": "it wraps calls that take a descriptor and a name",
    "peer.agent.audit": "its own log file, named by the operator",
    "peer.agent.__main__": "the operator's settings",
}
# Functions of os that take a path first; with dir_fd= they take a name below a descriptor instead.
BY_PATH = {
    "access", "chdir", "chmod", "chown", "chroot", "lchown", "link", "listdir", "listxattr", "lstat", "makedirs",
    "mkdir", "mkfifo", "mknod", "open", "getxattr", "pathconf", "readlink", "remove", "removedirs", "removexattr",
    "rename", "renames", "replace", "rmdir", "scandir", "setxattr", "stat", "statvfs", "symlink", "truncate",
    "unlink", "utime", "walk",
}  # fmt: skip
PATH_MODULES = {"pathlib", "shutil", "glob", "tempfile", "os.path"}


def calls_by_path(tree):
    """Calls of `open` and of os functions above that name a file by path, not by dir_fd or by a descriptor."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        entries = {
            ast.unparse(node.targets[0])
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and is_descriptor(ast.unparse(node.value), set())
        }
        for node in own_nodes(function):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "open" or (called.startswith("os.") and called[3:] in BY_PATH):
                argument = ast.unparse(node.args[0]) if node.args else ""
                below = {keyword.arg for keyword in node.keywords} & {"dir_fd", "src_dir_fd", "dst_dir_fd"}
                if not below and not is_descriptor(argument, entries):
                    yield f"line {node.lineno}: {called}({argument})"


def own_nodes(function):
    """The nodes of a function that lie in no function within it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from own_nodes(node)


def is_descriptor(argument, entries):
    """An argument that is a descriptor by its name (os takes those too), or its entry in /proc/self/fd."""
    last = argument.rpartition(".")[2]
    return (
        argument in entries
        or argument.startswith(("self_path(", "system_calls.self_path("))
        or "fd" in last
        or "descriptor" in last
        or last in ("fileno()", "handle")
    )


AGENT = [module for module in modules() if module.within("peer.agent") and module.name not in ALLOWED]


@pytest.mark.parametrize("module", AGENT, ids=lambda module: module.name)
def test_the_agent_touches_paths_only_through_its_confined_root(module):
    assert not module.imports_any(*PATH_MODULES - {"pathlib"})
    assert list(calls_by_path(module.tree)) == []


def test_the_check_itself_sees_what_it_must():
    bad = "import os\ndef f():\n os.stat(path)\n open(name)\n os.listdir(b'/')\n x = [os.open(target, 0)]\nos.unlink(p)"
    assert [found.split(":")[0] for found in calls_by_path(ast.parse(bad))] == [
        "line 7",
        "line 3",
        "line 4",
        "line 5",
        "line 6",
    ]
    good = "import os\ndef f():\n os.stat(a.fd)\n os.stat(name, dir_fd=d)\n p = self_path(descriptor)\n os.chmod(p, 0)"
    assert list(calls_by_path(ast.parse(good))) == []
