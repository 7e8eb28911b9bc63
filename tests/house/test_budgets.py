"""The house rules of size, checked on every module; the lists of exceptions may only shrink."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "godwit"
MODULES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES = 400
INIT_LINES = 30
FUNCTION_LINES = 50
STORY_LINES = 25
PARAMETERS = 6
POSITIONAL = 3
NESTING = 4

STORY = ("flow/", "agent/blackout.py")
NAMELESS = {"utils", "util", "common", "helpers", "misc"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Lines of the body, the docstring left out."""
    body = function.body
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(body) > 1:
        first = body[1]
    return (function.end_lineno or 0) - first.lineno + 1


def depth(node: ast.AST, level: int = 0) -> int:
    """How deep blocks lie in one another, functions within functions not counted."""
    blocks = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)
    deepest = level
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda):
            continue
        elif_branch = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        deeper = level + (1 if isinstance(child, blocks) and not elif_branch else 0)
        deepest = max(deepest, depth(child, deeper))
    return deepest


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    lines = len(text.splitlines())

    assert lines <= (INIT_LINES if path.name == "__init__.py" else MODULE_LINES)
    assert path.stem not in NAMELESS
    assert len(path.relative_to(SOURCE).parts) <= 2
    assert ast.get_docstring(ast.parse(text)), "a module begins with one sentence"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_are_short_and_shallow(path: Path) -> None:
    limit = STORY_LINES if relative(path).startswith(STORY) else FUNCTION_LINES

    too_long = {f.name: length(f) for f in functions(path) if length(f) > limit}
    too_deep = {f.name: depth(f) for f in functions(path) if depth(f) > NESTING}

    assert too_long == {}
    assert too_deep == {}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_take_few_parameters(path: Path) -> None:
    many = {}
    for each in functions(path):
        if any(isinstance(d, ast.Call) and isinstance(d.func, ast.Attribute) for d in each.decorator_list):
            continue  # a command's options or a route's parameters are the command line or the API itself
        own = [arg.arg for arg in (*each.args.posonlyargs, *each.args.args) if arg.arg not in {"self", "cls"}]
        count = len(own) + len(each.args.kwonlyargs)
        if count > PARAMETERS or len(own) > POSITIONAL + 1:
            many[each.name] = count

    assert many == {}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_public_functions_and_classes_say_what_is_true_afterwards(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [node for node in tree.body if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")]

    silent = [node.name for node in public if not ast.get_docstring(node)]

    assert silent == []
