"""YAML with the line of every value, so that every mistake can be shown where it was made."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from collapse_guard.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Location = tuple[str | int, ...]

T = TypeVar("T")

_MOST_VALUES = 50_000
"""With aliases written out: a file of 300 bytes can stand for billions of values."""


def suggest(wanted: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Say which names exist and which one was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(wanted, names, n=1)
    return f"known: {', '.join(names)}." + (f" Did you mean {close[0]!r}?" if close else "")


@dataclasses.dataclass(frozen=True)
class YamlFile:
    """A YAML mapping with the line of every value in it."""

    path: Path
    content: dict[str, Any]
    lines: dict[Location, int]

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file; PolicyError, with the line, where it is no YAML mapping."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise PolicyError(f"{path}: cannot be read ({reason}); give the path of a YAML file") from None
        lines: dict[Location, int] = {}
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if not isinstance(node, yaml.MappingNode):
                raise PolicyError(f"{path}:1: a mapping was expected, with keys such as `name` and `gates`")
            return cls(path, _build_mapping(path, node, (), lines), lines)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise PolicyError(_yaml_message(path, error)) from None

    def items(self, key: str) -> list[Any]:
        """The list under a key; empty where there is none."""
        value = self.content.get(key) or []
        if not isinstance(value, list):
            raise self.error((key,), f"`{key}` must be a list")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """The mapping under a key; empty where there is none."""
        value = self.content.get(key) or {}
        if not isinstance(value, dict):
            raise self.error((key,), f"`{key}` must be a mapping")
        return value

    def error(self, place: Location, message: str) -> PolicyError:
        """Make an error that names file, line and place."""
        known = next((place[:end] for end in range(len(place), -1, -1) if place[:end] in self.lines), ())
        where = ".".join(map(str, place))
        return PolicyError(f"{self.path}:{self.lines.get(known, 1)}: {where}: {message}")

    def validate(self, adapter: TypeAdapter[T], content: object, place: Location = ()) -> T:
        """Turn the content of a place, changed or not, into a type; the first mistake is raised with its line."""
        try:
            return adapter.validate_python(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise self.error((*place, *first["loc"]), _plain(dict(first), adapter)) from None

    def check(self, place: Location, check: Callable[[Any], object], value: object) -> None:
        """Run a check that raises ValueError, and say where the value stands."""
        try:
            check(value)
        except ValueError as error:
            raise self.error(place, str(error)) from None


def _yaml_message(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    problem = "it is nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", error)
    return f"{path}:{line}: this is not YAML: {problem}"


def _build(path: Path, node: yaml.Node, place: Location, lines: dict[Location, int]) -> Any:  # noqa: ANN401
    line = lines[place] = node.start_mark.line + 1
    if len(lines) > _MOST_VALUES:
        raise PolicyError(f"{path}:{line}: there are more than {_MOST_VALUES:,} values, aliases written out; use fewer")
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(path, node, place, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_build(path, item, (*place, index), lines) for index, item in enumerate(node.value)]
    return _scalar(path, node)


def _scalar(path: Path, node: yaml.Node) -> object:
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, LookupError, AttributeError) as error:  # PyYAML checks what looks like a date as it makes one
        place, wanted = f"{path}:{node.start_mark.line + 1}", node.tag.rpartition(":")[2]
        found = f"{node.value!r:.60} is no {wanted} ({error!s:.60})"
        raise PolicyError(f"{place}: this is not YAML: {found}; put text into quotes") from None


def _build_mapping(path: Path, node: yaml.MappingNode, place: Location, lines: dict[Location, int]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in content:
            raise PolicyError(f"{path}:{line}: {key!r} is given twice; keep one of them")
        content[key] = _build(path, value_node, (*place, key), lines)
        lines[(*place, key)] = line
    return content


def _plain(problem: dict[str, Any], adapter: TypeAdapter[Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] != "unexpected_keyword_argument":
        found = problem["input"]
        shown = isinstance(found, str | int | float | bool) and problem["type"] != "missing"
        return f"{message} (found {found!r})" if shown else message
    return "unknown key; " + suggest(str(problem["loc"][-1]), _allowed_keys(adapter.json_schema(), problem["loc"][:-1]))


def _allowed_keys(schema: dict[str, Any], place: Location) -> list[str]:
    definitions = schema.get("$defs", {})
    at = schema
    for step in place:
        at = at.get("items", {}) if isinstance(step, int) else at.get("properties", {}).get(step) or _values(at)
        at = _follow(at, definitions)
    return list(at.get("properties", {}))


def _values(schema: dict[str, Any]) -> dict[str, Any]:
    found: object = schema.get("additionalProperties") or next(iter(schema.get("patternProperties", {}).values()), {})
    return found if isinstance(found, dict) else {}


def _follow(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    options = [schema, *schema.get("anyOf", [])]
    reference = next((str(option["$ref"]) for option in options if "$ref" in option), None)
    return definitions[reference.rpartition("/")[2]] if reference else schema
