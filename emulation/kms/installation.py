"""Puts the rules in front of moto's KMS: each call is judged before moto answers it."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from flask import request
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse

from emulation.aws.iam_evaluation import (
    Decision,
    Request,
    evaluate,
    evaluate_resource_policy,
    names_principal,
)
from emulation.aws.server.authorization import CALLER
from emulation.aws.server.callers import Caller
from emulation.kms import recipient
from emulation.kms.recipient import Recipient, RecipientRefused

#: moto's method → IAM action, for every call that needs a key and that a role could try. All take `KeyId`, but Decrypt
#: and ReEncrypt, whose ciphertext names its key.
ACTIONS: Final = {
    "create_grant": "kms:CreateGrant",
    "decrypt": "kms:Decrypt",
    "describe_key": "kms:DescribeKey",
    "disable_key": "kms:DisableKey",
    "enable_key": "kms:EnableKey",
    "encrypt": "kms:Encrypt",
    "generate_data_key": "kms:GenerateDataKey",
    "generate_data_key_without_plaintext": "kms:GenerateDataKeyWithoutPlaintext",
    "get_key_policy": "kms:GetKeyPolicy",
    "list_grants": "kms:ListGrants",
    "put_key_policy": "kms:PutKeyPolicy",
    "re_encrypt": "kms:ReEncryptFrom",
    "replicate_key": "kms:ReplicateKey",
    "schedule_key_deletion": "kms:ScheduleKeyDeletion",
}
_JUDGED: Final = "_sparkvault_judged"
_MAY_HAVE_RECIPIENT: Final = ("decrypt", "generate_data_key")

#: PEM of the simulated root whose documents count; the server sets it to a file in its own folder.
trusted_root = Path("no-simulated-root")


class _AccessDenied(JsonRESTError):
    code = 400

    def __init__(self, message: str, kind: str = "AccessDeniedException") -> None:
        super().__init__(kind, message)


def install(root: Path) -> None:
    """Judge every call from now on; `root` is the PEM file that may appear at any time."""
    global trusted_root
    trusted_root = root
    for name, action in ACTIONS.items():
        setattr(KmsResponse, name, _judged(getattr(KmsResponse, name), name, action))


def _judged(original: Callable[[KmsResponse], str], name: str, action: str) -> Callable[[KmsResponse], str]:
    @functools.wraps(original)
    def judged(self: KmsResponse) -> str:
        if getattr(self, _JUDGED, False):  # moto answers some calls by another one
            return original(self)
        setattr(self, _JUDGED, True)
        parameters = json.loads(self.body)
        enclave = _recipient(parameters) if name in _MAY_HAVE_RECIPIENT else None
        _authorise(self, name, action, parameters, enclave)
        answer = original(self)
        return answer if enclave is None else _for_recipient(answer, enclave)

    return judged


def _recipient(parameters: dict[str, Any]) -> Recipient | None:
    if parameters.get("Recipient") is None:
        return None
    try:
        return recipient.read(parameters["Recipient"], trusted_root)
    except RecipientRefused as error:
        raise _AccessDenied(str(error), "ValidationException") from None


def _for_recipient(answer: str, enclave: Recipient) -> str:
    """The plaintext leaves sealed to the enclave's key, and in no other form."""
    fields = json.loads(answer)
    plaintext = base64.b64decode(fields.pop("Plaintext"))
    return json.dumps({**fields, "CiphertextForRecipient": base64.b64encode(enclave.seal(plaintext)).decode()})


def _authorise(
    response: KmsResponse, name: str, action: str, parameters: dict[str, Any], enclave: Recipient | None
) -> None:
    caller: Caller | None = request.environ.get(CALLER)
    if caller is None:
        return
    key = _key(response, name, parameters)
    if key is None:  # moto says what is wrong with the key's name
        return
    wanted = Request(action, key.arn, {**_context(name, parameters), **(enclave.condition_keys() if enclave else {})})
    if not _is_allowed(json.loads(key.policy), caller, wanted):
        raise _AccessDenied(f"User: {caller.session_arn} is not authorized to perform: {action} on resource: {key.arn}")


def _is_allowed(policy: dict[str, Any], caller: Caller, wanted: Request) -> bool:
    """KMS developer guide, "Key access evaluation": the key's policy decides, alone or together with IAM's."""
    by_key = evaluate_resource_policy(policy, caller.role_arn, wanted)
    context = {**wanted.context, "aws:PrincipalArn": caller.role_arn}
    own = Request(wanted.action, wanted.resource, context)
    by_role = evaluate(caller.policies, own, None if caller.boundary is None else [caller.boundary])
    if Decision.EXPLICITLY_DENIED in (by_key, by_role) or by_key is not Decision.ALLOWED:
        return False
    return by_role is Decision.ALLOWED or names_principal(policy, caller.role_arn, wanted)


def _key(response: KmsResponse, name: str, parameters: dict[str, Any]) -> Any:
    keys = response.kms_backend.keys
    if name in ("decrypt", "re_encrypt"):
        # moto's ciphertext begins with the id of its key.
        identifier = base64.b64decode(parameters["CiphertextBlob"])[:36].decode(errors="replace")
    else:
        identifier = response.kms_backend.any_id_to_key_id(parameters.get("KeyId", ""))
    return keys.get(identifier)


def _context(name: str, parameters: dict[str, Any]) -> dict[str, str | list[str]]:
    """Condition keys of the encryption context."""
    given = parameters.get("SourceEncryptionContext" if name == "re_encrypt" else "EncryptionContext") or {}
    keys: dict[str, str | list[str]] = {f"kms:EncryptionContext:{key}": str(value) for key, value in given.items()}
    if given:
        keys["kms:EncryptionContextKeys"] = sorted(given)
    return keys
