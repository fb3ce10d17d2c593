"""Requests and responses in CBOR as they pass through `/dev/nsm`: Rust enums, externally tagged.

Source: aws-nitro-enclaves-nsm-api, src/api/mod.rs and src/driver/mod.rs. An operation without arguments is a text
("DescribeNSM"), one with arguments a map of one entry ({"DescribePCR": {"index": 0}}); errors are {"Error": code}.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final

import cbor2

from emulation.nsm.device import MAX_PCRS, VERSION, ErrorCode, NsmError, SimulatedNsm

#: NSM_REQUEST_MAX_SIZE and NSM_RESPONSE_MAX_SIZE of the driver.
MAX_REQUEST_BYTES: Final = 0x1000
MAX_RESPONSE_BYTES: Final = 0x3000
_MAX_U16: Final = 0xFFFF

_Arguments = Mapping[str, object]


def answer(nsm: SimulatedNsm, request: bytes) -> bytes:
    """The device's response to one request, both in CBOR; a refusal is a response too."""
    try:
        response = cbor2.dumps(_answer(nsm, request))
        if len(response) > MAX_RESPONSE_BYTES:
            raise NsmError(ErrorCode.BUFFER_TOO_SMALL)
    except NsmError as error:
        return cbor2.dumps({"Error": error.code.value})
    return response


def _answer(nsm: SimulatedNsm, request: bytes) -> object:
    if len(request) > MAX_REQUEST_BYTES:
        raise NsmError(ErrorCode.INPUT_TOO_LARGE)
    match _decode(request):
        case "DescribeNSM":
            return {"DescribeNSM": _description(nsm)}
        case "GetRandom":
            return {"GetRandom": {"random": nsm.random()}}
        case dict(operation) if len(operation) == 1:
            ((name, arguments),) = operation.items()
            if name in _OPERATIONS and isinstance(arguments, dict):
                return _OPERATIONS[name](nsm, arguments)
    raise NsmError(ErrorCode.INVALID_OPERATION)


def _description(nsm: SimulatedNsm) -> dict[str, object]:
    major, minor, patch = VERSION
    return {
        "version_major": major,
        "version_minor": minor,
        "version_patch": patch,
        "module_id": nsm.module_id,
        "max_pcrs": MAX_PCRS,
        "locked_pcrs": nsm.locked_pcrs(),
        "digest": "SHA384",
    }


def _describe_pcr(nsm: SimulatedNsm, arguments: _Arguments) -> object:
    locked, value = nsm.describe_pcr(_number(arguments, "index"))
    return {"DescribePCR": {"lock": locked, "data": value}}


def _extend_pcr(nsm: SimulatedNsm, arguments: _Arguments) -> object:
    data = _bytes(arguments, "data")
    if data is None:
        raise NsmError(ErrorCode.INVALID_OPERATION)
    return {"ExtendPCR": {"data": nsm.extend_pcr(_number(arguments, "index"), data)}}


def _lock_pcr(nsm: SimulatedNsm, arguments: _Arguments) -> object:
    nsm.lock_pcr(_number(arguments, "index"))
    return "LockPCR"


def _lock_pcrs(nsm: SimulatedNsm, arguments: _Arguments) -> object:
    nsm.lock_pcrs(_number(arguments, "range"))
    return "LockPCRs"


def _attestation(nsm: SimulatedNsm, arguments: _Arguments) -> object:
    document = nsm.attest(
        public_key=_bytes(arguments, "public_key"),
        user_data=_bytes(arguments, "user_data"),
        nonce=_bytes(arguments, "nonce"),
    )
    return {"Attestation": {"document": document}}


_OPERATIONS: Final[dict[object, Callable[[SimulatedNsm, _Arguments], object]]] = {
    "DescribePCR": _describe_pcr,
    "ExtendPCR": _extend_pcr,
    "LockPCR": _lock_pcr,
    "LockPCRs": _lock_pcrs,
    "Attestation": _attestation,
}


def _decode(request: bytes) -> object:
    stream = io.BytesIO(request)
    try:
        value: object = cbor2.CBORDecoder(stream, max_depth=3, allow_duplicate_keys=False, read_size=1).decode()
    except cbor2.CBORDecodeError:
        raise NsmError(ErrorCode.INVALID_OPERATION) from None
    if stream.tell() != len(request):
        raise NsmError(ErrorCode.INVALID_OPERATION)
    return value


def _number(arguments: _Arguments, name: str) -> int:
    value = arguments.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_U16:
        raise NsmError(ErrorCode.INVALID_OPERATION)
    return value


def _bytes(arguments: _Arguments, name: str) -> bytes | None:
    value = arguments.get(name)
    if value is not None and not isinstance(value, bytes):
        raise NsmError(ErrorCode.INVALID_OPERATION)
    return value
