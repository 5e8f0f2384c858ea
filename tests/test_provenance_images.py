from __future__ import annotations

import datetime as dt
import importlib.util
import io
import json
import math
import struct
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from collapse_guard.errors import UsageError
from collapse_guard.provenance.images import Trust, containers, examine_image
from collapse_guard.provenance.images.invisible import (
    METHODS,
    PAYLOADS,
    decode,
    invisible_evidence,
    invisible_log_p,
    payload_of_bytes,
)

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
PARAMETERS = "a lighthouse\nNegative prompt: fog\nSteps: 20, Seed: 1, Sampler: Euler a, CFG scale: 7"
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {}}})
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff"}
SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "c2pa"

needs_c2pa = pytest.mark.skipif(importlib.util.find_spec("c2pa") is None, reason="the extra images is not installed")


def image(kind: str = "PNG", size: tuple[int, int] = (40, 24), **saved) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(out, kind, **saved)
    return out.getvalue()


def png(texts: dict[str, str], *, zipped: bool = False, international: bool = False) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, value in texts.items():
        if international:
            info.add_itxt(name, value, zip=zipped)
        else:
            info.add_text(name, value, zip=zipped)
    return image(pnginfo=info)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def xmp(body: str) -> str:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {body}</rdf:RDF></x:xmpmeta>'


def with_xmp(kind: str, body: str) -> bytes:
    packet = xmp(body)
    if kind == "PNG":
        return png({"XML:com.adobe.xmp": packet}, international=True)
    if kind == "TIFF":
        return image(kind, tiffinfo={700: packet.encode()})
    return image(kind, xmp=packet.encode())


def exif(tag: int, value: str | bytes) -> bytes:
    tags = Image.Exif()
    if tag == 0x9286:
        tags.get_ifd(0x8769)[tag] = value
    else:
        tags[tag] = value
    return tags.tobytes()


def names(data: bytes) -> list[str]:
    return [found.name for found in examine_image(data).evidence]


@pytest.mark.parametrize("kind", list(MIME))
def test_size_and_format_come_from_the_first_bytes(kind):
    found = examine_image(image(kind))
    assert (found.format.upper(), found.width, found.height) == (kind, 40, 24)
    assert found.evidence == ()
    assert found.problems == ()
    assert json.dumps(found.to_json())


def test_webp_says_its_size_in_three_ways():
    for saved in ({"lossless": True}, {"lossless": False}, {"exif": exif(0x0131, "x")}):
        found = examine_image(image("WEBP", **saved))
        assert (found.width, found.height) == (40, 24)


@pytest.mark.parametrize(
    "saved", [{}, {"zipped": True}, {"international": True}, {"zipped": True, "international": True}]
)
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("parameters", PARAMETERS, ["png:parameters"]),
        ("prompt", GRAPH, ["png:prompt"]),
        ("workflow", '{"last_node_id": 9, "nodes": []}', ["png:workflow"]),
        ("Software", "NovelAI", ["png:Software"]),
        ("Dream", "a lighthouse -s 50", ["png:Dream"]),
        ("invokeai_metadata", "{}", ["png:invokeai_metadata"]),
        ("AIGC", '{"Label": "1"}', ["png:AIGC"]),
        ("AIGC", "{", ["png:AIGC:malformed"]),
        ("Software", "GIMP 3", []),
        ("parameters", "aperture 8", []),
        ("Description", "a poster that says: made with Midjourney", []),
        ("prompt", "What do you see?", []),
    ],
)
def test_generators_are_known_by_their_png_texts(name, value, expected, saved):
    found = examine_image(png({name: value}, **saved))
    assert [evidence.name for evidence in found.evidence] == expected
    assert all(
        evidence.says == ("edited" if "malformed" in evidence.name else "synthetic") for evidence in found.evidence
    )


def test_texts_behind_the_picture_are_read():
    data = image()
    late = data[:-12] + chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode()) + data[-12:]
    assert names(late) == ["png:parameters"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        (0x9286, b"UNICODE\0" + PARAMETERS.encode("utf-16-be"), ["exif:UserComment"]),
        (0x9286, b"UNICODE\0" + PARAMETERS.encode("utf-16-le"), ["exif:UserComment"]),
        (0x9286, b"ASCII\0\0\0" + PARAMETERS.encode(), ["exif:UserComment"]),
        (0x9286, b'ASCII\0\0\0{"AIGC": {"Label": "2"}}', ["exif:AIGC"]),
        (0x0131, "Adobe Firefly", ["exif:Software"]),
        (0x0110, "prompt:" + GRAPH, ["exif:Model"]),
        (0x0131, "Camera 1.0", []),
        (0x010E, "A robot, not made by Midjourney", []),
    ],
)
def test_generators_are_known_by_their_exif(kind, tag, value, expected):
    assert names(image(kind, exif=exif(tag, value))) == expected


def test_generators_are_known_by_a_comment_and_by_tiff_tags():
    assert names(image("JPEG", comment=PARAMETERS.encode())) == ["jpeg:comment"]
    assert names(image("TIFF", tiffinfo={305: "Midjourney"})) == ["exif:Software"]


@pytest.mark.parametrize("kind", list(MIME))
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f'Iptc4xmpExt:DigitalSourceType="{TRAINED}"/>', ["iptc:trainedAlgorithmicMedia"]),
        (f"><e:DigitalSourceType>{TRAINED}</e:DigitalSourceType>", ["iptc:trainedAlgorithmicMedia"]),
        (f'><e:DigitalSourceType rdf:resource="{TRAINED}"/>', ["iptc:trainedAlgorithmicMedia"]),
        (f"e:DigitalSourceType='{CAMERA}'/>", []),
        ('xmp:CreatorTool="Adobe Firefly"/>', ["xmp:CreatorTool"]),
        ('xmp:CreatorTool="Adobe Photoshop 25"/>', []),
        ('photoshop:Credit="Made with Google AI"/>', ["xmp:Credit"]),
        ('TC260:AIGC="{&quot;Label&quot;:&quot;1&quot;}"/>', ["xmp:AIGC"]),
        ('><TC260:AIGC>{"AIGC": {"Label": "3"}}</TC260:AIGC>', ["xmp:AIGC"]),
        ('TC260:AIGC="1"/>', ["xmp:AIGC:malformed"]),
    ],
)
def test_xmp_declares_the_source_type_the_tool_and_the_label(kind, body, expected):
    assert names(with_xmp(kind, body)) == expected


def test_an_entity_bomb_in_xmp_is_not_expanded():
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))
    packet = f'<!DOCTYPE x [<!ENTITY a0 "lol">{entities}<!ENTITY f SYSTEM "file:///etc/hosts">]>'
    data = png({"XML:com.adobe.xmp": packet + xmp('xmp:CreatorTool="&a29;&f;"/>')}, international=True)
    assert examine_image(data).evidence == ()


def test_an_xmp_packet_made_to_be_slow_is_read_at_once():
    for unit in (":AIGC", ":AIGC=", ":AIGC='", ":AIGC a", "<", ":Credit " + " " * 300):
        data = png({"XML:com.adobe.xmp": unit * (containers.FIELD_BYTES // len(unit))}, international=True)
        start = time.process_time()
        assert set(names(data)) <= {"xmp:AIGC:malformed"}
        assert time.process_time() - start < 2


def test_data_mining_is_a_usage_policy_and_no_evidence():
    found = examine_image(with_xmp("JPEG", 'plus:DataMining="DMI-PROHIBITED"/>'))
    assert found.usage_policy == {"plus:DataMining": "DMI-PROHIBITED"}
    assert found.evidence == ()


@pytest.mark.parametrize("data", [b"", b"GIF89a" + b"\0" * 20, b"\0\0\0\x18ftypheic" + b"\0" * 20, b"RIFF\0\0\0\0WAVE"])
def test_another_format_is_unsupported_and_never_clean(data):
    found = examine_image(data)
    assert (found.format, found.c2pa.outcome, found.evidence) == ("unsupported", "unsupported", ())
    assert found.problems


@given(st.sampled_from(list(MIME)), st.floats(0, 1), st.binary(max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_cut_or_overwritten_file_never_raises(kind, share, noise):
    whole = with_xmp(kind, 'xmp:CreatorTool="Midjourney"/>')
    at = int(share * len(whole))
    for data in (whole[:at], whole[:at] + noise + whole[at + len(noise) :]):
        found = examine_image(data, pixels=True)
        assert found.c2pa.outcome in {"none", "tampered", "unsupported"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_cut_file_tells_what_stands_before_the_cut_and_that_it_is_cut(kind):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    out = io.BytesIO()
    noise.save(out, kind, **({"pnginfo": None} if kind == "PNG" else {"exif": exif(0x0131, "Midjourney")}))
    found = examine_image(out.getvalue()[: 3000 if kind != "WEBP" else -80])
    assert found.problems
    assert (found.width, found.height) == (64, 64)


def test_a_decompression_bomb_in_a_text_is_read_up_to_the_cap():
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 50 * containers.FIELD_BYTES))
    data = image()
    found = examine_image(data[:33] + bomb * 20 + data[33:])
    assert any("more than" in problem for problem in found.problems)
    contents = containers.read_contents(data[:33] + bomb * 20 + data[33:])
    assert sum(len(value) for _, value in contents.fields) <= containers.IMAGE_BYTES
    broken = examine_image(data[:33] + chunk(b"zTXt", b"Comment\0\0junk") + data[33:])
    assert broken.problems == ("a compressed text chunk is damaged",)


def test_an_image_huge_in_pixels_gives_its_metadata_and_is_not_decoded():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    text = chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode())
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + body + chunk(b"IEND", b"")
    found = examine_image(data, pixels=True)
    assert (found.width, found.height) == (100_000, 100_000)
    assert [evidence.name for evidence in found.evidence] == ["png:parameters"]
    assert found.problems == ("100000 by 100000 pixels are more than 89478485; not decoded",)


class Signer:
    """A root and a signer under it, made for one test run."""

    def __init__(self) -> None:
        root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        top = _certificate("Test Root", root.public_key(), root, None)
        leaf = _certificate("Test Signer", key.public_key(), root, root.public_key())
        pem = serialization.Encoding.PEM
        self.root = top.public_bytes(pem)
        self.chain = leaf.public_bytes(pem) + self.root
        self.key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def sign(self, data: bytes, mime: str, *assertions: dict, parent: bytes = b"", part: bytes = b"") -> bytes:
        c2pa = importlib.import_module("c2pa")
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", self.chain, self.key, None))
        manifest = {"claim_generator_info": [{"name": "test", "version": "1"}], "assertions": list(assertions)}
        out = io.BytesIO()
        with c2pa.Builder(json.dumps(manifest)) as builder:
            for relation, made in (("parentOf", parent), ("componentOf", part)):
                if made:
                    told = json.dumps({"title": "p", "relationship": relation, "instance_id": "p"})
                    builder.add_ingredient(told, mime, io.BytesIO(made))
            builder.sign(signer, mime, io.BytesIO(data), out)
        return out.getvalue()


def _certificate(name, public, issuer, above):
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    uses = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    usage = dict.fromkeys(f"{uses} encipher_only decipher_only".split(), False)
    usage |= {"digital_signature": True} if above else {"key_cert_sign": True, "crl_sign": True}
    made = (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(_called("Test Root"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=above is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if above:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    return made.sign(issuer, hashes.SHA256())


def _called(name: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def actions(source: str, *more: dict) -> dict:
    created = {"action": "c2pa.created", "digitalSourceType": source}
    return {"label": "c2pa.actions", "data": {"actions": [created, *more]}}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@needs_c2pa
@pytest.mark.parametrize("kind", list(MIME))
def test_a_manifest_is_trusted_untrusted_or_tampered(kind, signer):
    mining = {"cawg.ai_generative_training": {"use": "notAllowed"}}
    notice = {"label": "cawg.training-mining", "data": {"entries": mining}}
    signed = signer.sign(image(kind), MIME[kind], actions(TRAINED), notice)
    for trust, outcome in ((Trust(signer.root), "valid_trusted"), (None, "valid_untrusted")):
        found = examine_image(signed, trust)
        assert found.c2pa.outcome == outcome
        assert [tuple(each)[1:4] for each in found.evidence] == [
            (f"c2pa:{outcome}:trainedAlgorithmicMedia", "strong", "synthetic")
        ]
        assert found.usage_policy == {"cawg.training-mining": "cawg.ai_generative_training=notAllowed"}
    assert examine_image(signed, Trust(Signer().root)).c2pa.outcome == "valid_untrusted"
    place = signed.rindex(b"IDAT") + 6 if kind == "PNG" else len(signed) - 10
    changed = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
    found = examine_image(changed, Trust(signer.root))
    assert found.c2pa.outcome == "tampered"
    assert [tuple(each)[1:4] for each in found.evidence] == [("c2pa:tampered", "weak", "edited")]


@needs_c2pa
def test_a_camera_and_an_image_without_manifest_give_no_evidence(signer):
    captured = examine_image(signer.sign(image("JPEG"), MIME["JPEG"], actions(CAMERA)), Trust(signer.root))
    assert (captured.c2pa.outcome, captured.evidence) == ("valid_trusted", ())
    assert examine_image(image("JPEG")).c2pa.outcome == "none"


@needs_c2pa
def test_what_was_opened_from_a_synthetic_image_is_synthetic_and_what_holds_one_is_edited(signer):
    made = signer.sign(image("JPEG"), MIME["JPEG"], actions(TRAINED))
    placed = {"action": "c2pa.placed", "parameters": {"ingredientIds": ["p"]}}
    holds = signer.sign(image("JPEG", (20, 20)), MIME["JPEG"], actions(CAMERA, placed), part=made)
    opening = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["p"]}}
    edit = {"label": "c2pa.actions", "data": {"actions": [opening]}}
    opened = signer.sign(image("JPEG", (20, 20)), MIME["JPEG"], edit, parent=made)
    again = signer.sign(image("JPEG", (10, 10)), MIME["JPEG"], edit, parent=opened)
    for data, says in ((opened, "synthetic"), (again, "synthetic"), (holds, "edited")):
        assert [found.says for found in examine_image(data).evidence] == [says]


@needs_c2pa
@pytest.mark.usefixtures("socket_enabled")
def test_a_manifest_that_lies_elsewhere_is_not_fetched():
    c2pa = importlib.import_module("c2pa")
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/m.c2pa"
        data = with_xmp("JPEG", f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/>')
        found = examine_image(data)
        assert asked == []
        # The same image does make the library fetch when it may: the test above is not empty.
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader("image/jpeg", io.BytesIO(data), context=c2pa.Context())
        assert asked == ["/m.c2pa"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert found.c2pa.outcome == "unsupported"
    assert "must fetch remote manifests" in found.c2pa.detail


def test_anchors_that_are_no_certificates_are_refused():
    for anchors in (b"", b"junk", b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----"):
        with pytest.raises(UsageError, match="give PEM certificates"):
            Trust(anchors)


def test_without_the_library_the_outcome_is_unsupported_and_never_none(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    found = examine_image(image("JPEG"))
    assert found.c2pa.outcome == "unsupported"
    assert "collapse-guard[images]" in found.c2pa.detail


@needs_c2pa
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "outcome", "evidence"),
    [
        ("A", "none", []),
        ("C", "valid_untrusted", ["c2pa:valid_untrusted:algorithmicMedia"]),
        ("CA", "valid_untrusted", []),
        ("XCA", "tampered", ["c2pa:tampered"]),
        ("E-sig-CA", "tampered", ["c2pa:tampered"]),
        ("CIE-sig-CA", "tampered", ["c2pa:tampered"]),
    ],
)
def test_real_files_have_the_outcome_of_their_description(name, outcome, evidence):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    found = examine_image((SHARED / f"{name}.jpg").read_bytes())
    assert found.c2pa.outcome == outcome
    assert [each.name for each in found.evidence] == evidence
    assert found.problems == ()


def embed(size: int, bits: tuple[bool, ...], method: str) -> np.ndarray:
    """Write bits into the blue of a grey image: the value read of each block lies at 1/4 or 3/4 of a step of 36."""
    low = np.full((size // 2, size // 2), 256.0)
    for number in range(low.shape[0] // 4 * (low.shape[1] // 4)):
        row, column = divmod(number, low.shape[1] // 4)
        block = low[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        step = 0.25 + 0.5 * bits[number % len(bits)]
        if method == "dwtDct":
            block[1, 2] = (8 + step) * 36
        else:
            block[:] = (28 + step) * 36 / 4  # a flat block has one singular value, four times its height
    out = np.full((size, size, 3), 128.0)
    out[..., 2] += (np.kron(low, np.ones((2, 2))) / 2 - 128) / (0.492 * 0.886)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_an_invisible_mark_is_found_with_its_exact_p_value(method, payload):
    marked = embed(160, payload.bits, method)
    found = decode(marked, len(payload.bits), method)
    assert found is not None
    assert tuple(found.tolist()) == payload.bits
    assert invisible_log_p(marked, payload.bits, method) == pytest.approx(-len(payload.bits) * np.log(2))
    for order in (marked, marked[..., ::-1]):
        assert f"invisible:{method}:{payload.name}" in [each.name for each in invisible_evidence(order)]


def test_an_unmarked_image_has_no_invisible_mark_and_a_small_one_cannot_be_tested():
    generator = np.random.default_rng(7)
    for _ in range(20):
        assert invisible_evidence(generator.integers(0, 256, (128, 128, 3), dtype=np.uint8)) == []
    flat = np.full((128, 128, 3), 90, np.uint8)
    ramp = np.repeat(np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)[..., None], 3, axis=2)
    assert invisible_evidence(flat) == invisible_evidence(ramp) == []
    assert invisible_log_p(flat[:16, :16], PAYLOADS[0].bits, "dwtDct") is None
    assert invisible_evidence(flat[:3, :3]) == []


def test_the_tail_of_a_fair_coin_is_exact():
    payload = payload_of_bytes("x", b"\xff")
    flat = np.full((64, 64, 3), 0, np.uint8)
    assert invisible_log_p(flat, payload.bits, "dwtDct") == pytest.approx(np.log(1)), "no bit of eight fits"
    bits = PAYLOADS[0].bits
    noise = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    fits = int(np.count_nonzero(decode(noise, len(bits), "dwtDct") == np.array(bits)))
    tail = sum(math.exp(math.lgamma(137) - math.lgamma(k + 1) - math.lgamma(137 - k)) for k in range(fits, 137))
    assert invisible_log_p(noise, bits, "dwtDct") == pytest.approx(math.log(tail) - 136 * math.log(2))


def test_pixels_are_looked_at_when_asked():
    out = io.BytesIO()
    Image.fromarray(embed(160, PAYLOADS[0].bits, "dwtDct")).save(out, "PNG")
    assert examine_image(out.getvalue()).evidence == ()
    found = examine_image(out.getvalue(), pixels=True).evidence
    assert ("watermark", "invisible:dwtDct:stable_diffusion_v1", "strong") in [tuple(each)[:3] for each in found]
