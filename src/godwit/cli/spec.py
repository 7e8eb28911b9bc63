"""A VM described in a YAML file, with the names of the REST API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from godwit.core.errors import Invalid
from godwit.core.resources import VmRequest
from godwit.core.wording import place, wrong


def read_spec(path: Path) -> VmRequest:
    """The VM that the file describes; `Invalid` names file, line, key and what is allowed there."""
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        words = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Invalid(f"{path} cannot be read: {why}; name another with --file") from error
    except yaml.YAMLError as error:
        raise Invalid(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return VmRequest.model_validate(words)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{path}:{_line(node, first['loc'])}: {_sentence(first)}") from None


def schema() -> dict[str, Any]:
    """What such a file may hold, as JSON Schema."""
    return VmRequest.model_json_schema()


def _sentence(error: ErrorDetails) -> str:
    key = place(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key} is not known; allowed there are {', '.join(_allowed(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if not key:
        return f"it does not describe a VM: write at least name; allowed are {', '.join(_allowed(()))}"
    return f"{key} is {error['input']!r}: {wrong(error)}"


def _allowed(place: Sequence[int | str]) -> list[str]:
    """The keys of the table at that place."""
    model: type[BaseModel] = VmRequest
    for key in place:
        if isinstance(key, str):
            model = _model_in(model.model_fields[key].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(each) for each in get_args(annotation))
    return next((each for each in found if each), None)


def _line(node: yaml.Node | None, place: Sequence[int | str]) -> int:
    """Where that key is, or the last part of its place that is there, counted from 1."""
    line = 1
    for key in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((each for each in node.value if each[0].value == key), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line
