"""Every code that an error may carry is explained in docs/errors.md or, of a check, in docs/checks.md; and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from godwit.core.errors import KINDS

ROOT = Path(__file__).parents[2]
CLASSES = {each.__name__ for each in KINDS.values()}
SEVERITIES = {"blocker", "warning", "note"}


def modules() -> dict[str, ast.AST]:
    paths = (ROOT / "src" / "godwit").rglob("*.py")
    return {str(path): ast.parse(path.read_text()) for path in paths if "testing" not in path.parts}


def codes() -> dict[str, set[str]]:
    """Of errors: by code, the modules that use it."""
    found: dict[str, set[str]] = {}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=kind), args=[_, ast.Constant(value=str(code))]) if kind in CLASSES:
                    found.setdefault(code, set()).add(name)
    return found


def findings() -> set[tuple[str, str, bool]]:
    """Code, severity, and whether --force goes over it, of each finding that some rule makes."""
    found = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=severity), args=[ast.Constant(value=str(code)), *_], keywords=words):
                    if severity in SEVERITIES:
                        found.add((code, severity, any(word.arg == "overridable" for word in words)))
    return found


def explained() -> set[str]:
    """What the page of errors has a line for."""
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}


def checked() -> set[tuple[str, str, bool]]:
    """What the page of checks has a line for."""
    text = (ROOT / "docs" / "checks.md").read_text()
    found = re.findall(r"^\| `([a-z0-9-]+)` \| (blocker|warning|note)(, `--force`)? \|", text, re.MULTILINE)
    return {(code, severity, bool(force)) for code, severity, force in found}


def test_every_code_is_explained() -> None:
    known = explained() | KINDS.keys() | {code for code, _, _ in checked()}
    missing = {code: where for code, where in codes().items() if code not in known}
    assert missing == {}


def test_every_kind_is_explained() -> None:
    assert KINDS.keys() <= explained()


def test_nothing_is_explained_that_is_no_error() -> None:
    made_elsewhere = {"http"}  # api/problems.py, of whatever Starlette says
    assert explained() - codes().keys() - KINDS.keys() - made_elsewhere == set()


def test_every_finding_is_made_by_a_test() -> None:
    tests = "".join(file.read_text() for name in ("core", "manager") for file in (ROOT / "tests" / name).glob("*.py"))
    assert {code for code, _, _ in checked() if f'"{code}"' not in tests} == set()


def test_every_finding_is_explained_with_its_severity() -> None:
    assert findings() == checked()
