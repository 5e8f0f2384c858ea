"""The written policy: bounds, rules, packs, gates and the mix, read from YAML with the line of every mistake."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from collapse_guard.canonical import json_digest
from collapse_guard.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    Location = tuple[str | int, ...]

STRICT = ConfigDict(extra="forbid")
EXACT = 2**53
"""Above it JSON does not say every whole number."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Bound:
    """An inclusive interval; null and NaN are never inside."""

    low: Finite | None = None
    high: Finite | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a bound needs `low`, `high` or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"`low` {self.low:g} is above `high` {self.high:g}: nothing could be inside")
        return self

    def contains(self, value: float | None) -> bool:
        """Say whether a value is inside; what could not be measured is not."""
        if value is None or not math.isfinite(value):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rule(Bound):
    """What happens to a document whose signal is outside a bound."""

    signal: str | dict[str, Any]
    outside: Literal["review", "drop"]
    name: Name | None = None

    @property
    def title(self) -> str:
        """The rule's name; the signal's kind where none was given."""
        return self.name or (self.signal if isinstance(self.signal, str) else str(self.signal.get("kind")))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pack:
    """A named, versioned list of rules."""

    name: Name
    version: Annotated[int, Field(ge=1, lt=EXACT)]
    source: str
    rules: tuple[Rule, ...]

    @property
    def title(self) -> str:
        """Name and version as a policy cites them."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gate(Bound):
    """What happens to a corpus whose metric is outside a bound.

    With `relative`, the bound is on the metric divided by its mean over human-only draws of the reservoir at the
    same token budget.
    """

    outside: Literal["warn", "block"]
    metric: Name | None = None
    relative: bool = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mix:
    """How reservoir and candidates are combined; shares are of tokens.

    Source of the defaults: collapse literature summarised in docs/decisions/0005-human-share.md.
    """

    human_share: Annotated[float, Field(gt=0, le=1)] = 0.30
    tokens: Annotated[int, Field(gt=0, lt=EXACT)] | None = None
    max_epochs: Annotated[int, Field(ge=1, le=16)] = 4
    on_exhausted: Literal["fail", "shrink_synthetic", "repeat"] = "fail"
    seed: Annotated[int, Field(ge=0, lt=EXACT)] = 0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Judging:
    """At which size metrics are taken, and how many human-only draws make the baseline."""

    tokens: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
    draws: Annotated[int, Field(ge=20, le=10_000)] = 200


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Policy:
    """What is kept, reviewed or dropped, how it is mixed, and which corpus may be released."""

    name: Name
    packs: tuple[Pack, ...] = ()
    rules: tuple[Rule, ...] = ()
    mix: Mix = Mix()
    judging: Judging = Judging()
    gates: dict[Name, Gate]

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the policy says, packs written out."""
        return json_digest(self.to_json())

    @property
    def sifting(self) -> dict[str, Any]:
        """The part that decides about documents, as JSON: moving a gate or the share sifts nothing again."""
        said = self.to_json()
        return {"packs": said["packs"], "rules": said["rules"]}

    def to_json(self) -> dict[str, Any]:
        """The policy as plain JSON, with every default written out."""
        return _policies.dump_python(self, mode="json")  # type: ignore[no-any-return]

    def all_rules(self) -> Iterator[tuple[str, Rule]]:
        """Every rule with the reason that a document dropped by it carries, in order of application."""
        for pack in self.packs:
            yield from ((f"{pack.title}:{rule.title}", rule) for rule in pack.rules)
        yield from ((rule.title, rule) for rule in self.rules)

    def gate_metric(self, name: str) -> str:
        """The metric that a gate judges; a gate is named after it where it names none."""
        return self.gates[name].metric or name


class Names(Protocol):
    """What a policy may refer to; signals and metrics are declared in higher layers."""

    def check_signal(self, reference: str | Mapping[str, Any]) -> None:
        """Raise ValueError, with what would be right, for an unknown signal or parameter."""

    def check_metric(self, name: str) -> None:
        """Raise ValueError, with what would be right, for an unknown metric."""

    def built_in_packs(self) -> Mapping[str, Path]:
        """Files of the packs that come with the library, by title."""


_policies = TypeAdapter(Policy)
_packs = TypeAdapter(Pack)


def read_policy(path: Path, names: Names) -> Policy:
    """Read and check a policy file.

    Args:
        path: A YAML file; packs are named by title, or by a path relative to it.
        names: The signals, metrics and packs that exist.

    Returns:
        The frozen policy, its packs resolved.

    Raises:
        PolicyError: The file, a key, a bound or a name in it is wrong; says file, line and what would be right.
    """
    source = _Source.read(path)
    content = dict(source.content)
    content["packs"] = [_read_pack(source, index, names) for index in range(len(source.items("packs")))]
    policy = source.validate(_policies, content)
    source.check_each(("rules",), [rule.signal for rule in policy.rules], names.check_signal, "signal")
    for name in policy.gates:
        source.check(("gates", name, "metric"), names.check_metric, policy.gate_metric(name))
    return policy


def _read_pack(source: _Source, index: int, names: Names) -> Pack:
    place = ("packs", index)
    wanted = str(source.items("packs")[index])
    known = names.built_in_packs()
    path = known.get(wanted, source.path.parent / wanted)
    if not path.is_file():
        raise source.error(place, f"pack {wanted!r} is unknown and is no file; " + suggest(wanted, known))
    if path.samefile(source.path):
        raise source.error(place, f"{wanted!r} is this policy itself; name a pack. " + suggest(wanted, known))
    pack_source = _Source.read(path)
    pack = pack_source.validate(_packs, pack_source.content)
    pack_source.check_each(("rules",), [rule.signal for rule in pack.rules], names.check_signal, "signal")
    return pack


def suggest(wanted: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Say which names exist and which one was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(wanted, names, n=1)
    return f"known: {', '.join(names)}." + (f" Did you mean {close[0]!r}?" if close else "")


@dataclasses.dataclass(frozen=True)
class _Source:
    """A YAML file with the line of every value in it."""

    path: Path
    content: dict[str, Any]
    lines: dict[Location, int]

    @classmethod
    def read(cls, path: Path) -> _Source:
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
        value = self.content.get(key) or []
        if not isinstance(value, list):
            raise self.error((key,), f"`{key}` must be a list")
        return value

    def error(self, place: Location, message: str) -> PolicyError:
        known = next((place[:end] for end in range(len(place), -1, -1) if place[:end] in self.lines), ())
        where = ".".join(map(str, place))
        return PolicyError(f"{self.path}:{self.lines.get(known, 1)}: {where}: {message}")

    def validate(self, adapter: TypeAdapter[T], content: Mapping[str, Any]) -> T:
        try:
            return adapter.validate_python(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise self.error(first["loc"], _plain(dict(first), adapter)) from None

    def check(self, place: Location, check: Any, value: Any) -> None:  # noqa: ANN401 - any value, any check
        try:
            check(value)
        except ValueError as error:
            raise self.error(place, str(error)) from None

    def check_each(self, place: Location, values: Sequence[Any], check: Any, key: str) -> None:  # noqa: ANN401
        for index, value in enumerate(values):
            self.check((*place, index, key), check, value)


def _yaml_message(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    problem = "it is nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", error)
    return f"{path}:{line}: this is not YAML: {problem}"


def _build(path: Path, node: yaml.Node, place: Location, lines: dict[Location, int]) -> Any:  # noqa: ANN401
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(path, node, place, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_build(path, item, (*place, index), lines) for index, item in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


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
