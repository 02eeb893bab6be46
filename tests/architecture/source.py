"""The project's own source, read once: modules, what they import, what they call."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("broker", "peer", "schema", "scripts")


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, and what its text says."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @property
    def lines(self) -> int:
        return len(self.path.read_text(encoding="utf-8").splitlines())

    def within(self, *rooms: str) -> bool:
        """Whether this is one of the modules or packages `rooms`, or lies in one."""
        return any(self.name == room or self.name.startswith(f"{room}.") for room in rooms)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Dotted names of all imports in the file: ``a.b`` for both ``import a.b`` and ``from a import b``."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: imports are absolute"
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        return frozenset(found)

    def imports_any(self, *names: str) -> list[str]:
        """Which of its imports are, or lie in, one of `names`."""
        return sorted(
            each for each in self.imports if any(each == name or each.startswith(f"{name}.") for name in names)
        )


@cache
def modules() -> tuple[Module, ...]:
    """Every module of ours but the tests."""
    return tuple(
        Module(".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"), path)
        for package in PACKAGES
        for path in sorted((CHECKOUT / package).rglob("*.py"))
    )
