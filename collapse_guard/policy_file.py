"""Policies and packs as YAML files: read, checked against the names that exist, the files they name digested."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import TypeAdapter

from collapse_guard.document import ORIGINS
from collapse_guard.policy import (
    Classifier,
    Counting,
    EvaluationSet,
    Expectations,
    Mix,
    Pack,
    Policy,
    Reference,
    Rule,
    Watermarks,
    Where,
    kind_of,
)
from collapse_guard.yaml_lines import YamlFile, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collapse_guard.yaml_lines import Location

_policies = TypeAdapter(Policy)
_packs = TypeAdapter(Pack)
_wheres = TypeAdapter(Where)


class Names(Protocol):
    """What a policy may refer to; signals, transforms and metrics are declared in higher layers."""

    def check_signal(self, reference: Reference) -> None:
        """Raise ValueError, with what would be right, for an unknown signal or parameter."""

    def check_transform(self, reference: Reference) -> None:
        """Raise ValueError, with what would be right, for an unknown transform or parameter."""

    def check_metric(self, name: str) -> None:
        """Raise ValueError, with what would be right, for an unknown metric."""

    def built_in_packs(self) -> Mapping[str, Path]:
        """Files of the packs that come with the library, by title."""


def read_policy(path: Path, names: Names) -> Policy:
    """Read and check a policy file.

    Args:
        path: A YAML file; packs are named by title, or by a path relative to it, as are lists and evaluation sets.
        names: The signals, transforms, metrics and packs that exist.

    Returns:
        The frozen policy, its packs resolved, with a digest of every file that it names.

    Raises:
        PolicyError: The file, a key, a bound or a name in it is wrong; says file, line and what would be right.
    """
    return _PolicyReader(YamlFile.read(path), names).read()


def read_pack(path: Path, names: Names) -> Pack:
    """Read and check a pack file; see `read_policy`."""
    return _PackReader(YamlFile.read(path), names, {}, path.parent).read()


class _Reader:
    """What policies and packs have in common: rules and transforms."""

    def __init__(self, file: YamlFile, names: Names, own: Mapping[str, dict[str, Any]], folder: Path) -> None:
        self.file = file
        self.names = names
        self.own = own
        self.folder = folder

    def rules(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(self._rule(rule, ("rules", index)) for index, rule in enumerate(rules))

    def transforms(self, transforms: tuple[Reference, ...]) -> tuple[Reference, ...]:
        for index, transform in enumerate(transforms):
            self.file.check(("transforms", index), self.names.check_transform, transform)
        return transforms

    def where(self, where: Where, place: Location) -> Where:
        return replace(where, signal=self.signal(where.signal, place))

    def _rule(self, rule: Rule, place: Location) -> Rule:
        where = self.where(rule.where, (*place, "where", "signal")) if rule.where else None
        signal = self.signal(rule.signal, (*place, "signal"))
        said = self.file.items("rules")[int(place[-1])]
        self.refuse_origins(said, signal, place)
        if where:
            self.refuse_origins(said["where"], where.signal, (*place, "where"))
        for used in (signal, where.signal if where else signal):
            self.file.check(place, rule.check_allowed, used)
        name = rule.title if isinstance(rule.signal, str) and rule.signal in self.own else rule.name
        return replace(rule, name=name, signal=signal, where=where)

    def refuse_origins(self, said: Mapping[str, Any], signal: Reference, place: Location) -> None:
        """Refuse the name of an origin in a bound on anything else, where it would count as a number."""
        for edge in ("low", "high"):
            if said.get(edge) in ORIGINS and kind_of(signal) != "origin":
                raise self.file.error((*place, edge), f"a bound on {kind_of(signal)} is a number, not an origin")

    def signal(self, reference: Reference, place: Location) -> Reference:
        """Write out a signal that the policy declares, digest the file that it names, and check it."""
        known = self.own.get(reference, reference) if isinstance(reference, str) else reference
        if isinstance(known, dict) and isinstance(known.get("path"), str):
            known = {**known, **self.listed(known["path"], place)}
        self.file.check(place, self.names.check_signal, known)
        return known

    def listed(self, path: str, place: Location) -> dict[str, Any]:
        """The path of a file relative to the policy, and its digest."""
        found = self.file.path.parent / path
        try:
            digest = hashlib.sha256(found.read_bytes()).hexdigest()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise self.file.error(place, f"{path!r} cannot be read ({reason}); {found} is no file") from None
        return {"path": os.path.relpath(found, self.folder), "sha256": digest}


class _PackReader(_Reader):
    def read(self) -> Pack:
        pack = self.file.validate(_packs, self.file.content)
        return replace(pack, rules=self.rules(pack.rules), transforms=self.transforms(pack.transforms))


class _PolicyReader(_Reader):
    def __init__(self, file: YamlFile, names: Names) -> None:
        own = {name: _named(name, said) for name, said in file.mapping("signals").items()}
        super().__init__(file, names, own, file.path.parent)

    def read(self) -> Policy:
        content = dict(self.file.content)
        if "folder" in content:
            raise self.file.error(("folder",), "unknown key; files are named relative to the policy")
        content["packs"] = [self._pack(index) for index in range(len(self.file.items("packs")))]
        policy = self.file.validate(_policies, content)
        for name in policy.gates:
            self.file.check(("gates", name, "metric"), self.names.check_metric, policy.gate_metric(name))
        known = replace(
            policy,
            watermarks=self._watermarks(policy.watermarks),
            classifier=self._classifier(policy.classifier),
            tokens=self._counting(policy.tokens),
            mix=self._mix(policy.mix),
            signals={name: self.declared(name) for name in policy.signals},
            rules=self.rules(policy.rules),
            transforms=self.transforms(policy.transforms),
            decontaminate=tuple(self._evaluation(index, found) for index, found in enumerate(policy.decontaminate)),
            expectations=tuple(self._expectations(index, said) for index, said in enumerate(policy.expectations)),
            folder=self.folder,
        )
        self._check_collected(known)
        return known

    def _check_collected(self, known: Policy) -> None:
        """Refuse signals of evidence that nothing in the policy collects, and drops by the classifier alone."""
        for name, signal in known.signals.items():
            self.file.check(("signals", name), known.check_collected, kind_of(signal))
        for index, rule in enumerate(known.rules):
            self.file.check(("rules", index, "signal"), known.check_rule, rule)
        for index, pack in enumerate(known.packs):
            for rule in pack.rules:
                self.file.check(("packs", index), known.check_rule, rule)

    def _watermarks(self, said: Watermarks | None) -> Watermarks | None:
        if said is None:
            return None
        known = replace(said, **_renamed(self.listed(said.keys, ("watermarks", "keys")), "keys", "sha256"))
        if said.calibration is None:
            return known
        found = self.listed(said.calibration, ("watermarks", "calibration"))
        return replace(known, **_renamed(found, "calibration", "calibration_sha256"))

    def _classifier(self, said: Classifier | None) -> Classifier | None:
        return said and replace(said, **self.listed(said.path, ("classifier", "path")))

    def _counting(self, said: Counting | None) -> Counting | None:
        if said is None:
            return None
        found = self.listed(said.tokenizer, ("tokens", "tokenizer"))
        return replace(said, **_renamed(found, "tokenizer", "sha256"))

    def _mix(self, said: Mix) -> Mix:
        if said.tombstones is None:
            return said
        found = self.listed(said.tombstones, ("mix", "tombstones"))
        return replace(said, **_renamed(found, "tombstones", "tombstones_sha256"))

    def declared(self, name: str) -> dict[str, Any]:
        found = self.signal(name, ("signals", name))
        return found if isinstance(found, dict) else {"kind": found}

    def _evaluation(self, index: int, found: EvaluationSet) -> EvaluationSet:
        place = ("decontaminate", index, "path")
        known = replace(found, **self.listed(found.path, place))
        self.file.check(place, self.names.check_signal, known.rule.signal)
        return known

    def _expectations(self, index: int, said: Expectations) -> Expectations:
        found = self.listed(said.suite, ("expectations", index, "suite"))
        return replace(said, **_renamed(found, "suite", "sha256"))

    def _pack(self, index: int) -> Pack:
        place: Location = ("packs", index)
        item = self.file.items("packs")[index]
        if not isinstance(item, dict):
            return self._named_pack(str(item), place)
        if set(item) != {"pack", "where"}:
            raise self.file.error(place, "a pack is a name, or a mapping with the keys `pack` and `where`")
        where = self.where(self.file.validate(_wheres, item["where"], (*place, "where")), (*place, "where", "signal"))
        self.refuse_origins(item["where"], where.signal, (*place, "where"))
        pack = self._named_pack(str(item["pack"]), place)
        for rule in pack.rules:
            self.file.check((*place, "where", "signal"), rule.check_allowed, where.signal)
        return pack.restricted(where)

    def _named_pack(self, wanted: str, place: Location) -> Pack:
        known = self.names.built_in_packs()
        path = known.get(wanted, self.file.path.parent / wanted)
        if not _is_file(path):
            raise self.file.error(place, f"pack {wanted!r} is unknown and is no file; " + suggest(wanted, known))
        if path.samefile(self.file.path):
            raise self.file.error(place, f"{wanted!r} is this policy itself; name a pack. " + suggest(wanted, known))
        return _PackReader(YamlFile.read(path), self.names, self.own, self.folder).read()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long for the file system
        return False


def _renamed(found: dict[str, Any], path: str, sha256: str) -> dict[str, Any]:
    return {path: found["path"], sha256: found["sha256"]}


def _named(name: str, said: Any) -> Any:  # noqa: ANN401 - as YAML gives it; checked when the signal is
    """A signal that a policy declares; one with a `function` is the user's own and carries the name."""
    return {"kind": "custom", "name": name, **said} if isinstance(said, dict) and "function" in said else said
