"""Content credentials (C2PA): whether a signed manifest is there, whole and trusted, and what it says.

Read by c2pa-python, which the extra `images` brings. Nothing is fetched: a manifest that lies elsewhere is not tested.
"""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cryptography.x509 import load_pem_x509_certificates

from collapse_guard.errors import UsageError
from collapse_guard.provenance.evidence import Evidence, quoted
from collapse_guard.provenance.vocabulary import source_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Outcome = Literal["none", "valid_trusted", "valid_untrusted", "tampered", "unsupported"]

MIME_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "TIFF": "image/tiff"}

_SOURCE_TYPE = "digitalSourceType"
_USAGE = frozenset({"cawg.training-mining", "c2pa.training-mining"})


@dataclass(frozen=True)
class Trust:
    """Whom to trust.

    Attributes:
        anchors: Certificates of the roots, PEM.
        purposes: Extended key usages that a signer's certificate may have, as dotted numbers one per line; empty for
            the library's own list.

    Raises:
        UsageError: The anchors are no certificates.
    """

    anchors: bytes
    purposes: str = ""

    def __post_init__(self) -> None:
        try:
            load_pem_x509_certificates(self.anchors)
        except ValueError as error:
            raise UsageError("the trust anchors hold no certificate that can be read; give PEM certificates") from error


class Credentials(NamedTuple):
    """What an image's manifest is worth, and what it says.

    Attributes:
        outcome: `none`: no manifest; `valid_trusted`: whole, by a signer under the given roots; `valid_untrusted`:
            whole, by anybody; `tampered`: some hash or signature does not fit; `unsupported`: could not be tested.
        detail: Why, where it is not plain.
        evidence: A whole manifest that says that a model made the image is as good as any admission, whoever signed
            it. A tampered one is weak evidence of an edit: its statements are not of these bytes, so none is used.
        usage_policy: What the image may be used for.
    """

    outcome: Outcome
    detail: str = ""
    evidence: tuple[Evidence, ...] = ()
    usage_policy: dict[str, str] = {}  # noqa: RUF012 - never changed


@dataclass
class _Report:
    """The library's answer."""

    state: str
    failures: list[str]
    active: str
    manifests: Mapping[str, Any] = field(default_factory=dict)


def read_credentials(data: bytes, mime_type: str, trust: Trust | None) -> Credentials:
    """Verify the content credentials of an image, without any network.

    Args:
        data: The file.
        mime_type: What it is.
        trust: Whom to trust; nobody by default.

    Returns:
        The outcome with its evidence.

    Raises:
        UsageError: The trust anchors cannot be used.
    """
    if importlib.util.find_spec("c2pa") is None:
        return Credentials("unsupported", "c2pa-python is not installed; install collapse-guard[images]")
    import c2pa  # noqa: PLC0415 - an optional extra with a library of its own

    try:
        settings = c2pa.Settings.from_dict(_settings(trust))
        context = c2pa.Context(settings)
    except c2pa.C2paError as error:
        raise UsageError(f"the trust anchors cannot be used: {quoted(str(error))}; give PEM certificates") from error
    try:
        with c2pa.Reader(mime_type, io.BytesIO(data), context=context) as reader:
            return _judge(_report(json.loads(reader.json())))
    except c2pa.C2paError.ManifestNotFound:
        return Credentials("none")
    except (
        c2pa.C2paError.Manifest,
        c2pa.C2paError.Assertion,
        c2pa.C2paError.Signature,
        c2pa.C2paError.Verify,
    ) as error:
        return _tampered(quoted(str(error)))
    except c2pa.C2paError as error:
        return Credentials("unsupported", f"no manifest could be read: {quoted(str(error))}")


def _settings(trust: Trust | None) -> dict[str, Any]:
    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    if trust is None:
        return {"verify": verify}
    given: dict[str, Any] = {"trust_anchors": trust.anchors.decode("ascii", "replace")}
    if trust.purposes:
        given["trust_config"] = trust.purposes
    return {"verify": verify, "trust": given}


def _report(told: Mapping[str, Any]) -> _Report:
    results = told.get("validation_results") or {}
    failures = [*(results.get("activeManifest") or {}).get("failure", [])]
    for delta in results.get("ingredientDeltas") or []:
        failures += delta.get("validationDeltas", {}).get("failure", [])
    codes = [str(failure.get("code")) for failure in failures]
    return _Report(str(told.get("validation_state")), codes, str(told.get("active_manifest")), told["manifests"])


def _judge(report: _Report) -> Credentials:
    broken = [code for code in report.failures if code != "signingCredential.untrusted"]
    if report.state not in {"Valid", "Trusted"}:
        return _tampered(", ".join(broken) or report.state)
    outcome: Outcome = "valid_trusted" if report.state == "Trusted" else "valid_untrusted"
    return Credentials(outcome, ", ".join(broken), tuple(_statements(report, outcome)), _usage_policy(report))


def _tampered(why: str) -> Credentials:
    return Credentials("tampered", why, (Evidence("declared", "c2pa:tampered", "weak", "edited", None, None, why),))


def _statements(report: _Report, outcome: str) -> Iterator[Evidence]:
    """Say what the image and the images it was made of are: one placed into it makes it edited."""
    own = _lineage(report)
    for label, manifest in report.manifests.items():
        for value in _source_types(manifest):
            for found in source_type(f"c2pa:{outcome}", value):
                yield found if label in own else found._replace(says="edited")


def _lineage(report: _Report) -> set[str]:
    """Name the active manifest, and those of the images that it was opened from, back to the first."""
    own: set[str] = set()
    todo = [report.active]
    while todo:
        label = todo.pop()
        if label not in own:
            own.add(label)
            parts = report.manifests.get(label, {}).get("ingredients") or []
            todo += [part["active_manifest"] for part in parts if _is_parent(part)]
    return own


def _is_parent(part: Mapping[str, Any]) -> bool:
    return part.get("relationship") == "parentOf" and "active_manifest" in part


def _assertions(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for assertion in manifest.get("assertions") or []:
        if isinstance(data := assertion.get("data"), dict):
            yield str(assertion.get("label")), data


def _source_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    for label, data in _assertions(manifest):
        nodes = data.get("actions") if label.startswith("c2pa.actions") else [data]
        for node in nodes if isinstance(nodes, list) else []:
            if isinstance(node, dict) and isinstance(value := node.get(_SOURCE_TYPE), str):
                yield value


def _usage_policy(report: _Report) -> dict[str, str]:
    told = {}
    for label, data in _assertions(report.manifests.get(report.active, {})):
        if label in _USAGE:
            uses = {
                name: entry.get("use") for name, entry in data.get("entries", {}).items() if isinstance(entry, dict)
            }
            told[label] = quoted(", ".join(f"{name}={use}" for name, use in uses.items()))
    return told
