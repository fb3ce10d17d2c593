"""Why an attestation document was refused: one class per reason, each with a sentence for the person in front of it."""

from __future__ import annotations

from typing import ClassVar


class AttestationRefused(Exception):
    """Base of every refusal. Nothing may be sent to an enclave whose document was refused.

    `what` says what was found, `remedy` what to do about it; `str()` gives both.
    """

    remedy: ClassVar[str] = "Do not send keys to this enclave."

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} {self.remedy}")
        self.what = what


class NotADocument(AttestationRefused):
    """Base of what can be wrong with the form: these bytes are not an attestation document by AWS's rules."""

    remedy = "Ask the enclave for a new document and see that it arrives unchanged, as the raw bytes of COSE_Sign1."


class DocumentTooLarge(NotADocument):
    """More bytes than a Nitro hypervisor ever sends; refused before anything is parsed."""


class EnvelopeMalformed(NotADocument):
    """Not the untagged COSE_Sign1 array in the one encoding that Nitro hypervisors use."""


class TrailingBytes(NotADocument):
    """Bytes follow the end of the document or of its payload."""


class AlgorithmRefused(NotADocument):
    """The document says that it is signed with something other than ES384."""


class PayloadTooLarge(NotADocument):
    """The payload is empty or longer than the 16,384 bytes that AWS allows."""


class PayloadMalformed(NotADocument):
    """The payload is not well-formed CBOR within the limits: truncated, nested too deep, unknown encodings."""


class DuplicateKey(NotADocument):
    """A CBOR map says two things under one key."""


class TagRefused(NotADocument):
    """A CBOR tag where AWS's format has none: its meaning would depend on the reader."""


class FieldRefused(NotADocument):
    """A field breaks a rule of the AWS specification; base of the classes that name the field."""


class FieldMissing(FieldRefused):
    """A mandatory field is absent or null."""


class FieldUnknown(FieldRefused):
    """A field that the AWS specification does not list."""


class ModuleIdRefused(FieldRefused):
    """`module_id` is not a non-empty text."""


class DigestRefused(FieldRefused):
    """`digest` is not "SHA384"."""


class TimestampRefused(FieldRefused):
    """`timestamp` is not a positive number of milliseconds."""


class PcrsRefused(FieldRefused):
    """`pcrs` is not a map of 1 to 32 registers, index below 32, of 32, 48 or 64 bytes each."""


class CertificateFieldRefused(FieldRefused):
    """`certificate` is not 1 to 1024 bytes."""


class CabundleRefused(FieldRefused):
    """`cabundle` is not a non-empty list of certificates of 1 to 1024 bytes each."""


class PublicKeyRefused(FieldRefused):
    """`public_key` is not 1 to 1024 bytes."""


class UserDataRefused(FieldRefused):
    """`user_data` is not at most 512 bytes."""


class NonceRefused(FieldRefused):
    """`nonce` is not at most 512 bytes."""


class ChainRefused(AttestationRefused):
    """Base of what can be wrong with the certificates, and the library's own refusal where no rule of ours fits."""

    remedy = "The document does not come from the trusted hardware: do not send keys to this enclave."


class UntrustedRoot(ChainRefused):
    """The bundle does not begin with the trusted root."""

    remedy = (
        "If this enclave is a simulation for learning or tests, say so explicitly with its root certificate; "
        "otherwise do not send keys to it."
    )


class CertificateMalformed(ChainRefused):
    """A certificate that cannot be read, or not of X.509 version 3."""


class CertificateAlgorithmRefused(ChainRefused):
    """A certificate whose key is not on P-384 or whose signature is not ECDSA with SHA-384."""


class CertificateSignatureInvalid(ChainRefused):
    """A certificate that the one before it in the bundle did not issue."""


class CertificateUsageRefused(ChainRefused):
    """Basic constraints or key usage do not allow what the certificate is used for."""


class CertificatePathTooLong(ChainRefused):
    """More certificates follow than a path length constraint or our own limit allows."""


class CertificateExpired(ChainRefused):
    """A certificate is no longer valid at the time of checking; an enclave's own lives three hours."""

    remedy = "Ask the enclave for a new document, and see that this machine's clock is right."


class CertificateNotYetValid(ChainRefused):
    """A certificate becomes valid only after the time of checking."""

    remedy = "See that this machine's clock is right, then ask the enclave for a new document."


class SignatureInvalid(AttestationRefused):
    """The document's signature does not fit its content and its certificate's key."""

    remedy = "The document was changed or was never signed by a Nitro hypervisor: do not send keys to this enclave."


class DebugModeRefused(AttestationRefused):
    """The enclave runs in debug mode: its console shows what happens inside, and its measurements are zero."""

    remedy = "Start the enclave without debug mode; there is no option that accepts it."


class MeasurementUnknown(AttestationRefused):
    """No allowed image has all of these measurements."""

    remedy = (
        "Compare the image that the enclave runs with measurements.json; if the image is meant to run, "
        "add it there by review, never from what the enclave says about itself."
    )


class MeasurementRevoked(AttestationRefused):
    """The enclave runs an image that was withdrawn."""

    remedy = "Run the current image; a revoked one stays refused whatever it is signed with."


class MeasurementForOtherPlatform(AttestationRefused):
    """The image is allowed for another platform than the one whose root signed the document."""

    remedy = "An image for tests must not run where real keys are used: run the image that was built for Nitro."


class NonceMissing(AttestationRefused):
    """The document carries no nonce although one was sent."""

    remedy = "Without the nonce this may be an old document replayed: ask again with a fresh nonce."


class NonceMismatch(AttestationRefused):
    """The document answers another question than the one that was asked."""

    remedy = "This may be an old document replayed: ask again with a fresh nonce, used once."


class UserDataMissing(AttestationRefused):
    """The document binds no session data although some were expected."""

    remedy = "The keys that were offered are not bound to the enclave: someone may stand in between."


class UserDataMismatch(AttestationRefused):
    """The document binds other session data than the ones that were offered."""

    remedy = "The keys that were offered are not the enclave's: someone may stand in between."


class DocumentStale(AttestationRefused):
    """The document is older than allowed."""

    remedy = "Ask the enclave for a new document, and see that this machine's clock is right."


class DocumentFromTheFuture(AttestationRefused):
    """The document is dated later than this machine's clock allows."""

    remedy = "See that this machine's clock is right, then ask the enclave for a new document."
