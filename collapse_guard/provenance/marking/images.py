"""Marks for finished images: signed content credentials, or plain metadata where nobody can sign."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from collapse_guard.errors import UsageError
from collapse_guard.provenance.evidence import quoted
from collapse_guard.provenance.images.containers import Contents, read_contents
from collapse_guard.provenance.images.credentials import MIME_TYPES, read_credentials
from collapse_guard.provenance.marking.statement import Marked, Statement
from collapse_guard.provenance.marking.xmp import embedded, with_statement
from collapse_guard.version import __version__

_ALGORITHMS = {256: "es256", 384: "es384", 521: "es512"}
"""By the bits of an elliptic curve."""
_USES = ("cawg.data_mining", "cawg.ai_inference", "cawg.ai_training", "cawg.ai_generative_training")
_MANIFEST = bytes.fromhex("6332706100110010800000aa00389b71")
"""How every manifest store begins to describe itself (ISO 19566-5, C2PA)."""
_PARAMETER = "collapse_guard.statement"


@dataclass(frozen=True)
class ImageSigner:
    """Who signs content credentials.

    Attributes:
        chain: The signer's certificate and those above it but the root, PEM.
        key: The certificate's private key, PEM; never shown.
        timestamp_url: A time-stamping authority (RFC 3161) to ask over the network for every image; nobody by default.

    Raises:
        UsageError: Chain or key cannot be read, or do not belong together.
    """

    chain: bytes
    key: bytes = field(repr=False)
    timestamp_url: str | None = None

    def __post_init__(self) -> None:
        certificate = _certificate(self.chain)
        if certificate.public_key() != _private_key(self.key).public_key():
            raise UsageError("the private key is not the one of the first certificate in the chain")

    @property
    def algorithm(self) -> str:
        """The name of the signature's algorithm in C2PA."""
        key = _private_key(self.key)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return _ALGORITHMS[key.key_size]
        return "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ps256"


def _certificate(chain: bytes) -> Any:  # noqa: ANN401 - a certificate
    try:
        return load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise UsageError("the chain holds no certificate that can be read; give PEM, the signer's first") from error


def _private_key(pem: bytes) -> Any:  # noqa: ANN401 - one of three kinds
    """Read a private key; what went wrong is not told, as it may quote the key."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError("the private key cannot be read; give PEM without a password") from None
    curve = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size in _ALGORITHMS
    if not curve and not isinstance(key, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise UsageError("the private key is of a kind that C2PA has not; give ECDSA on a NIST curve, Ed25519 or RSA")
    return key


def mark_image(data: bytes, statement: Statement, signer: ImageSigner | None = None) -> Marked[bytes]:
    """Declare an image: by content credentials (C2PA) of a signer, else by XMP, which anybody can take out again.

    The pixels are not touched. Credentials say which digital source type the image has, and that it may not be mined
    or trained on; those that are there become the history of ours. XMP gets IPTC's digital source type and, where a
    model made all of it, `AIGC` of GB 45438-2025.

    Args:
        data: A PNG, JPEG, WebP or, with a signer, TIFF file.
        statement: What is declared; marking again with the same changes nothing.
        signer: Who signs; needs the extra `images`.

    Returns:
        The file.

    Raises:
        UsageError: The file is of another format, damaged, tampered with or declares something else; the signer cannot
            sign; or there is none for an image whose credentials a change would break.
    """
    contents = read_contents(data)
    if not contents.format or contents.problems:
        why = contents.problems[0] if contents.problems else "it is not PNG, JPEG, WebP or TIFF"
        raise UsageError(f"the image cannot be marked: {why}")
    if signer is not None:
        return _signed(data, MIME_TYPES[contents.format], statement, signer)
    if _MANIFEST in data:
        raise UsageError("the image has content credentials, which any change would break; give a certificate to sign")
    return _described(data, contents, statement)


def _described(data: bytes, contents: Contents, statement: Statement) -> Marked[bytes]:
    packet, notes = with_statement(contents.xmp[0] if contents.xmp else None, statement)
    return Marked(embedded(data, contents, packet), notes)


def _signed(data: bytes, mime_type: str, statement: Statement, signer: ImageSigner) -> Marked[bytes]:
    if importlib.util.find_spec("c2pa") is None:
        raise UsageError("content credentials are signed by c2pa-python; install collapse-guard[images]")
    before = read_credentials(data, mime_type, None)
    if before.outcome in {"tampered", "unsupported"}:
        raise UsageError(f"the image's content credentials are {before.outcome}: {before.detail}; nothing was signed")
    if before.outcome != "none" and _active_statement(data, mime_type) == _told(statement):
        return Marked(data, ())
    made = _built(data, mime_type, statement, signer, opened=before.outcome != "none" or statement.mode == "edited")
    notes = () if before.outcome == "none" else ("the image's content credentials are kept as the history of ours",)
    return Marked(made, notes)


def _told(statement: Statement) -> dict[str, Any]:
    return {"producer": statement.producer, "content_id": statement.content_id} | (
        {} if statement.generation is None else {"generation": statement.generation}
    )


def _context() -> Any:  # noqa: ANN401 - the library has no types
    import c2pa  # noqa: PLC0415 - an optional extra with a library of its own

    return c2pa.Context(c2pa.Settings.from_dict({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}))


def _active_statement(data: bytes, mime_type: str) -> object:
    """What the newest credentials of an image say, if they are ours."""
    import c2pa  # noqa: PLC0415 - an optional extra with a library of its own

    with c2pa.Reader(mime_type, io.BytesIO(data), context=_context()) as reader:
        report = json.loads(reader.json())
    assertions = report["manifests"][report["active_manifest"]].get("assertions") or []
    actions = [action for each in assertions for action in each.get("data", {}).get("actions") or []]
    return next((found for each in actions if (found := each.get("parameters", {}).get(_PARAMETER))), None)


def _built(data: bytes, mime_type: str, statement: Statement, signer: ImageSigner, *, opened: bool) -> bytes:
    import c2pa  # noqa: PLC0415 - an optional extra with a library of its own

    out = io.BytesIO()
    key = _private_key(signer.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    given = c2pa.C2paSignerInfo(signer.algorithm, signer.chain, key, signer.timestamp_url)
    try:
        with c2pa.Builder(_manifest(statement, "edited" if opened else "created"), _context()) as builder:
            if opened:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.sign(c2pa.Signer.from_info(given), mime_type, io.BytesIO(data), out)
    except c2pa.C2paError as error:
        raise UsageError(f"the image could not be signed: {quoted(str(error))}") from None
    return out.getvalue()


def _manifest(statement: Statement, action: str) -> dict[str, Any]:
    did = {
        "action": f"c2pa.{action}",
        "when": statement.produced_at.isoformat(),
        "digitalSourceType": statement.source_type,
        "parameters": {_PARAMETER: _told(statement)},
    }
    if statement.model:
        did["softwareAgent"] = {"name": statement.model}
    mining = {use: {"use": "notAllowed"} for use in _USES}
    return {
        "claim_generator_info": [{"name": "collapse_guard", "version": __version__}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [did]}},
            {"label": "cawg.training-mining", "data": {"entries": mining}},
        ],
    }
