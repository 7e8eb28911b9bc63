"""Every code that an error may carry is explained in docs/errors.md, and none that no error carries."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from godwit.core.errors import KINDS

ROOT = Path(__file__).parents[2]
CLASSES = {each.__name__ for each in KINDS.values()}


def codes() -> dict[str, set[str]]:
    """By code, the modules that use it."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "godwit").rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for code in _of(node):
                found.setdefault(code, set()).add(path.name)
    return found


def _of(node: ast.AST) -> list[str]:
    """An error made with a code, or a rule of core/plan.py, which returns a sentence and its code."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=[_, ast.Constant(value=str(code))]) if name in CLASSES:
            return [code]
        case ast.FunctionDef(returns=ast.expr() as told) if "Obstacle" in ast.unparse(told):
            words = (each.value for each in ast.walk(node) if isinstance(each, ast.Return))
            return [pair.elts[1].value for pair in words if isinstance(pair, ast.Tuple)]  # type: ignore[attr-defined]
    return []


def explained() -> set[str]:
    """What the page has a line for."""
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}


def test_every_code_is_explained() -> None:
    missing = {code: modules for code, modules in codes().items() if code not in explained() | KINDS.keys()}
    assert missing == {}


def test_every_kind_is_explained() -> None:
    assert KINDS.keys() <= explained()


def test_nothing_is_explained_that_is_no_error() -> None:
    made_elsewhere = {"http"}  # api/problems.py, of whatever Starlette says
    assert explained() - codes().keys() - KINDS.keys() - made_elsewhere == set()
