"""Damaged and forged attestation documents by the thousand, the same ones in every run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from emulation.nsm.device import sign_document

Mutation = tuple[str, bytes]

#: COSE algorithms (RFC 9053) that are not ES384: ES256, ES512, EdDSA, PS256…PS512, HMAC, ES256K, RS1, none.
OTHER_ALGORITHMS = (-7, -36, -8, -37, -38, -39, 4, 5, 6, 7, -47, -65535, 0, 35)


def bit_flips(document: bytes, rng: random.Random, count: int) -> Iterator[Mutation]:
    """Single bits: all of the first 16 and last 8 bytes, the others at random."""
    edges = [*range(16 * 8), *range((len(document) - 8) * 8, len(document) * 8)]
    for position in [*edges, *rng.sample(range(16 * 8, (len(document) - 8) * 8), count)]:
        changed = bytearray(document)
        changed[position // 8] ^= 1 << (position % 8)
        yield "bit flip", bytes(changed)


def truncations(document: bytes, step: int) -> Iterator[Mutation]:
    for length in range(0, len(document), step):
        yield "truncation", document[:length]


def byte_edits(document: bytes, rng: random.Random, count: int) -> Iterator[Mutation]:
    """Bytes taken out, put in, overwritten in runs, and copied elsewhere."""
    for _ in range(count):
        at, length = rng.randrange(len(document)), rng.randrange(1, 64)
        other = rng.randrange(len(document))
        yield "bytes removed", document[:at] + document[at + length :]
        yield "bytes inserted", document[:at] + rng.randbytes(length) + document[at:]
        yield "bytes overwritten", document[:at] + rng.randbytes(length) + document[at + length :]
        yield "bytes copied", document[:at] + document[other : other + length] + document[at + length :]


def splices(one: bytes, other: bytes, rng: random.Random, count: int) -> Iterator[Mutation]:
    """The beginning of one document with the end of another, and parts of both in one envelope."""
    for _ in range(count):
        yield "splice", one[: rng.randrange(1, len(one))] + other[rng.randrange(1, len(other)) :]
        at = rng.randrange(1, min(len(one), len(other)))
        yield "splice in place", one[:at] + other[at:]
    ours, theirs = cbor2.loads(one), cbor2.loads(other)
    for index in (2, 3):
        mixed = list(ours)
        mixed[index] = theirs[index]
        yield "parts of two documents", cbor2.dumps(mixed)
    our_fields, their_fields = cbor2.loads(ours[2]), cbor2.loads(theirs[2])
    for name in our_fields:
        if our_fields[name] != their_fields[name]:
            yield f"{name} of another document", _with_payload(ours, {**our_fields, name: their_fields[name]})


def certificate_swaps(document: bytes) -> Iterator[Mutation]:
    """The bundle in every order and with every part missing, and the leaf in every issuer's place."""
    parts = cbor2.loads(document)
    fields = cbor2.loads(parts[2])
    bundle, leaf = fields["cabundle"], fields["certificate"]
    for count in range(len(bundle) + 1):
        for order in itertools.permutations(bundle, count):
            if list(order) != bundle:
                yield "bundle in another order", _with_payload(parts, {**fields, "cabundle": list(order)})
    for index, issuer in enumerate(bundle):
        swapped = [*bundle[:index], leaf, *bundle[index + 1 :]]
        yield "leaf swapped", _with_payload(parts, {**fields, "cabundle": swapped, "certificate": issuer})
        yield "issuer as leaf", _with_payload(parts, {**fields, "certificate": issuer})
        yield "issuer twice", _with_payload(parts, {**fields, "cabundle": [*bundle, issuer]})


def damaged_certificates(
    fields: dict[str, Any], key: ec.EllipticCurvePrivateKey, rng: random.Random, count: int
) -> Iterator[Mutation]:
    """A bit of an issuer or of the leaf, under a right signature: what is wrong shows in the certificates only."""
    encoded = [*fields["cabundle"], fields["certificate"]]
    for _ in range(count):
        index = rng.randrange(1, len(encoded))
        changed = bytearray(encoded[index])
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        damaged = [*encoded[:index], bytes(changed), *encoded[index + 1 :]]
        payload = cbor2.dumps({**fields, "cabundle": damaged[:-1], "certificate": damaged[-1]})
        yield "damaged certificate", sign_document(payload, key)


def attackers_documents(document: bytes) -> Iterator[Mutation]:
    """What an attacker can make who has the document but no key of the chain: signed with a key of his own."""
    parts = cbor2.loads(document)
    fields, key = cbor2.loads(parts[2]), ec.derive_private_key(0xBAD, ec.SECP384R1())
    for name in fields:
        yield "own key, field doubled", sign_document(_doubled(fields, name), key)
        yield (
            "own key, field gone",
            sign_document(cbor2.dumps({other: value for other, value in fields.items() if other != name}), key),
        )
        for value in _odd_values():
            yield "own key, odd value", sign_document(cbor2.dumps({**fields, name: value}), key)
    for algorithm in OTHER_ALGORITHMS:
        protected = cbor2.dumps({1: algorithm})
        yield "other algorithm named", cbor2.dumps([protected, {}, parts[2], parts[3]])
        yield "other algorithm unprotected", cbor2.dumps([parts[0], {1: algorithm}, parts[2], parts[3]])
    for curve, digest in ((ec.SECP256R1(), hashes.SHA256()), (ec.SECP521R1(), hashes.SHA512())):
        other_key = ec.generate_private_key(curve)
        r, s = decode_dss_signature(other_key.sign(parts[2], ec.ECDSA(digest)))
        size = (curve.key_size + 7) // 8
        yield "other curve", cbor2.dumps([parts[0], {}, parts[2], r.to_bytes(size, "big") + s.to_bytes(size, "big")])
    for signature in (bytes(96), b"\xff" * 96, parts[3][48:] + parts[3][:48], parts[3][:48] * 2, bytes(95) + b"\x01"):
        yield "made-up signature", cbor2.dumps([parts[0], {}, parts[2], signature])


def encodings(document: bytes) -> Iterator[Mutation]:
    """The same statement in other CBOR, inside and outside of what is signed."""
    parts = cbor2.loads(document)
    fields = cbor2.loads(parts[2])
    ways: list[Callable[[Any], bytes]] = [
        lambda value: cbor2.dumps(value, indefinite_containers=True),
        lambda value: cbor2.dumps(value, canonical=True),
        lambda value: cbor2.dumps(dict(reversed(value.items()))),
        lambda value: cbor2.dumps(dict(sorted(value.items()))),
    ]
    for way in ways:
        if way(fields) != parts[2]:
            yield "payload encoded again", cbor2.dumps([parts[0], {}, way(fields), parts[3]])
    yield "envelope indefinite", cbor2.dumps(parts, indefinite_containers=True)
    for tag in (18, 17, 55799, 24):
        yield "tagged", cbor2.dumps(cbor2.CBORTag(tag, parts))
    for index, width in itertools.product((0, 2, 3), (1, 2, 4, 8)):
        yield "long head", _with_head(parts, index, width, len(parts[index]))


def huge_lengths(document: bytes) -> Iterator[Mutation]:
    """Heads that promise up to 2^64 - 1 bytes or entries, in the envelope and at every head of the payload."""
    parts = cbor2.loads(document)
    for index, width in itertools.product((0, 2, 3), (1, 2, 4, 8)):
        yield "huge length", _with_head(parts, index, width, 256**width - 1)
    payload = parts[2]
    for position in range(len(payload)):
        if payload[position] >> 5 in (2, 3, 4, 5) and position % 7 == 0:
            for width, size in ((25, 2), (26, 4), (27, 8)):
                head = bytes([payload[position] & 0xE0 | width]) + b"\xff" * size
                spoiled = payload[:position] + head + payload[position + 1 :]
                yield "huge length inside", cbor2.dumps([parts[0], {}, spoiled[:16_384], parts[3]])


def _with_payload(parts: list[Any], fields: dict[str, Any]) -> bytes:
    return cbor2.dumps([parts[0], {}, cbor2.dumps(fields), parts[3]])


def _with_head(parts: list[Any], index: int, width: int, length: int) -> bytes:
    pieces = [cbor2.dumps(part) for part in parts]
    if length >= 256**width:
        length = 256**width - 1
    pieces[index] = bytes([0x58 + {1: 0, 2: 1, 4: 2, 8: 3}[width]]) + length.to_bytes(width, "big") + parts[index]
    return b"\x84" + b"".join(pieces)


def _doubled(fields: dict[str, Any], name: str) -> bytes:
    payload = cbor2.dumps(fields)
    return bytes([payload[0] + 1]) + payload[1:] + cbor2.dumps(name) + cbor2.dumps(fields[name])


def _odd_values() -> list[object]:
    return [
        None,
        True,
        0,
        -1,
        2**64 - 1,
        2**70,
        1.5,
        float("nan"),
        "",
        "x" * 2000,
        b"",
        b"x" * 2000,
        [],
        [[[]]],
        {},
        {0: {0: {}}},
        cbor2.CBORTag(2, b"x"),
        cbor2.CBORSimpleValue(99),
        cbor2.undefined,
    ]
