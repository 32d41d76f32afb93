"""The layout of the project: which modules there are, and that imports run downwards only (STYLE: our own house)."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import unittest
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parent.parent

# Nothing imports these: they are what people start.
PROGRAMS = {"introducer", "server", "client", "network"}
# What the foundation may import of ours. A name stands for a module, or for a package with all that is in it.
FOUNDATION: dict[str, set[str]] = {
    "crypto": {"crypto"},
    "socp": {"crypto"},
    "framing": {"crypto", "socp"},
    "settings": set(),
}
THIRD_PARTY = {"cryptography"}
# The names that the design card fixes.
FIXED_NAMES = (
    "README.md",
    "client.py",
    "crypto",
    "framing.py",
    "introducer.py",
    "requirements.txt",
    "server.py",
    "socp.py",
    "tests",
)


def find_modules() -> dict[str, Path]:
    """Return every module of ours but tests and benchmarks: its dotted name and its file."""
    modules = {path.stem: path for path in sorted(ROOT.glob("*.py"))}
    for path in sorted(ROOT.glob("crypto/*.py")):
        modules["crypto" if path.stem == "__init__" else f"crypto.{path.stem}"] = path
    return modules


def top(name: str) -> str:
    """Return the first part of a dotted name."""
    return name.partition(".")[0]


def imports_of(name: str, modules: dict[str, Path]) -> set[str]:
    """Return the dotted names that a module imports, wherever in it: under `if TYPE_CHECKING` or in a function too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:  # only a package has relative imports, and ours have one level
                source = f"{top(name)}.{source}".rstrip(".")
            for alias in node.names:
                # `from crypto import keys` needs crypto.keys; `from crypto.keys import BadKey` does too.
                member = f"{source}.{alias.name}"
                found.add(member if member in modules else source)
    return found


class ImportsTest(unittest.TestCase):
    """What each module imports."""

    modules: ClassVar[dict[str, Path]]
    imports: ClassVar[dict[str, set[str]]]
    ours: ClassVar[dict[str, set[str]]]

    @classmethod
    def setUpClass(cls) -> None:
        """Read every module, once."""
        cls.modules = find_modules()
        cls.imports = {name: imports_of(name, cls.modules) for name in cls.modules}
        names = {top(name) for name in cls.modules}
        cls.ours = {name: {found for found in imports if top(found) in names} for name, imports in cls.imports.items()}

    def test_modules_and_their_imports_are_found(self) -> None:
        """The other tests look at something: the foundation is among the modules, and known imports are seen."""
        assert set(FOUNDATION) <= set(self.modules), set(FOUNDATION) - set(self.modules)
        assert "crypto.encoding" in self.ours["socp"]
        assert "socp" in self.ours["framing"]
        assert "cryptography.exceptions" in self.imports["crypto.keys"]

    def test_our_imports_name_modules_that_exist(self) -> None:
        """Whatever is imported under a name of ours is a module of ours."""
        for name, ours in self.ours.items():
            with self.subTest(name):
                assert ours <= set(self.modules), f"{name} imports {ours - set(self.modules)}"

    def test_no_module_imports_a_program(self) -> None:
        """Programs are at the top: nothing imports one, not even another program."""
        for name, ours in self.ours.items():
            with self.subTest(name):
                assert not ours & PROGRAMS, f"{name} imports {ours & PROGRAMS}"

    def test_the_foundation_imports_only_what_is_below_it(self) -> None:
        """The protocol's words, frames, settings and cryptography know nothing of links, tables or programs."""
        for name, ours in self.ours.items():
            if top(name) not in FOUNDATION:
                continue
            with self.subTest(name):
                above = {found for found in ours if top(found) not in FOUNDATION[top(name)]}
                assert not above, f"{name} imports {above}"

    def test_imports_have_no_cycle(self) -> None:
        """All our modules can be put in an order in which each imports only those before it."""
        try:
            order = list(graphlib.TopologicalSorter(self.ours).static_order())
        except graphlib.CycleError as error:
            raise AssertionError(f"an import cycle: {' <- '.join(error.args[1])}") from error
        assert set(order) == set(self.modules)

    def test_cryptography_is_the_only_third_party_import(self) -> None:
        """Whatever is neither ours nor of the standard library is `cryptography`."""
        for name, imports in self.imports.items():
            with self.subTest(name):
                foreign = {top(found) for found in imports - self.ours[name]} - sys.stdlib_module_names
                assert foreign <= THIRD_PARTY, f"{name} imports {foreign - THIRD_PARTY}"


class FilesTest(unittest.TestCase):
    """What is in the project's directory."""

    def test_the_fixed_names_are_there(self) -> None:
        """The names that the design card fixes have not moved."""
        for name in FIXED_NAMES:
            with self.subTest(name):
                assert (ROOT / name).exists(), f"{name} is missing"

    def test_cryptography_is_the_only_requirement(self) -> None:
        """Users install one package."""
        lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        needed = [text for line in lines if (text := line.partition("#")[0].strip())]
        assert [re.split(r"[^\w.-]", text)[0] for text in needed] == ["cryptography"], needed

    def test_no_module_hides_one_of_the_standard_library(self) -> None:
        """Our directory comes first in sys.path: a module called as one of the library's would take its place."""
        names = {top(name) for name in find_modules()} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
        assert not names & sys.stdlib_module_names, names & sys.stdlib_module_names

    def test_every_module_begins_with_a_docstring(self) -> None:
        """A reader learns what a module is for from its first line."""
        for name, path in find_modules().items():
            with self.subTest(name):
                assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{name} has no docstring"
