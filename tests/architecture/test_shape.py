"""What a reader may rely on: files that fit the head, names that say what is in them, one rule a file."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import CHECKOUT, modules

MAX_LINES = 400
MEDIAN_LINES = 200
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base", "core", "stuff"}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_file_fits_the_head(module):
    assert module.lines < MAX_LINES, "a file over 400 lines wants to be two"


def test_most_files_are_short():
    lengths = sorted(module.lines for module in modules())
    assert lengths[len(lengths) // 2] < MEDIAN_LINES


def test_tests_are_short_too():
    long = {
        str(path.relative_to(CHECKOUT)): count
        for path in (CHECKOUT / "tests").rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) >= MAX_LINES
    }
    assert long == {}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_name_says_what_is_in_it(module):
    assert not VAGUE & set(module.name.split("."))


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_module_says_what_it_is_and_the_rule_it_keeps(module):
    said = ast.get_docstring(module.tree)
    assert said
    if module.lines > 10 and not module.name.endswith((".errors", ".limits")):  # there, the rule is what it is
        assert "one rule" in said.lower() or "only rule" in said.lower(), "which rule does it keep?"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_nothing_is_left_for_later_and_no_error_vanishes(module):
    text = module.path.read_text(encoding="utf-8")
    for mark in ("TODO", "FIXME", "XXX", "NotImplementedError()"):
        assert mark not in text
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            names = ast.unparse(node.type) if node.type else "everything"
            only_passes = all(isinstance(each, ast.Pass) for each in node.body)
            assert not (names in ("everything", "Exception", "BaseException") and only_passes), f"line {node.lineno}"


@pytest.mark.parametrize("package", ["broker", "peer"])
def test_a_package_has_one_root_of_its_errors(package):
    roots = []
    for module in modules():
        roots += [
            f"{module.name}.{node.name}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ClassDef)
            and module.within(package)
            and {"Exception", "ValueError", "RuntimeError", "OSError"} & {ast.unparse(each) for each in node.bases}
        ]
    assert roots == [f"{package}.errors.{package.capitalize()}Error"]
