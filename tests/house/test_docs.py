"""Pictures in the docs are made from the tables."""

from __future__ import annotations

import json
from pathlib import Path

from godwit.cli.spec import schema
from godwit.core.phase import DEADLINES_S, diagram
from godwit.diagnosis.causes import CAUSES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_diagram_of_phases_is_that_of_the_table() -> None:
    text = (DOCS / "phases.md").read_text()

    assert diagram() in text, "run `python -m godwit.core.phase` and paste its diagram into docs/phases.md"


def test_the_schema_of_vm_files_is_that_of_the_api() -> None:
    published = json.loads((DOCS / "vm.schema.json").read_text())

    assert published == schema(), "run `godwit vm schema >docs/vm.schema.json`"


def test_the_deadlines_are_those_of_the_table() -> None:
    text = (DOCS / "phases.md").read_text()

    for phase, limit_s in DEADLINES_S.items():
        assert f"| `{phase}` | {limit_s:.0f} s |" in text


def test_every_finding_of_the_doctor_is_explained() -> None:
    text = (DOCS / "troubleshooting.md").read_text()

    assert {code for code in CAUSES if f"| `{code}` |" in text} == CAUSES.keys()
