"""One word per thing, and programs are started in two places only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "godwit"
MODULES = sorted(SOURCE.rglob("*.py"))

NOT_OUR_WORDS = re.compile(r"(^|_)(src|dst|dest|target|node_from|node_to)(_|$)", re.IGNORECASE)
STARTS_PROGRAMS = {"host/process.py", "qemu/child.py"}
"""The agent's door, and the keeper's, which starts its QEMU and nothing else. The lab is made of programs."""


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def names(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_source_and_destination_are_spelled_out(path: Path) -> None:
    assert {name for name in names(ast.parse(path.read_text())) if NOT_OUR_WORDS.search(name)} == set()


def test_only_the_listed_modules_of_the_product_start_programs() -> None:
    starts = re.compile(r"\b(subprocess\.|create_subprocess_|os\.(exec|spawn|fork|posix_spawn))")

    found = {relative(path) for path in MODULES if starts.search(path.read_text())}

    assert {path for path in found if not path.startswith("lab/")} <= STARTS_PROGRAMS


def test_netlink_has_one_door() -> None:
    found = {relative(path) for path in MODULES if re.search(r"^\s*(from|import) pyroute2", path.read_text(), re.M)}

    assert found <= {relative(path) for path in (SOURCE / "network").glob("*.py")}


def test_nothing_names_the_machine_it_was_written_on() -> None:
    forbidden = re.compile(r"(^|[^\w.])/(work|farm)/|pythonhosted\.org|registry\.npmjs|deb\.debian\.org")
    texts = [*ROOT.glob("[!.]*.*"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.py"), *MODULES]

    found = [
        str(path) for path in texts if path.is_file() and path != Path(__file__) and forbidden.search(path.read_text())
    ]

    assert found == []
