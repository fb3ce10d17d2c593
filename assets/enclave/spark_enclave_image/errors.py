"""What can be wrong with an enclave image file or with what one is to be built from."""

from __future__ import annotations


class EifError(Exception):
    """Base: the message says which file, what is wrong and, where there is something to do, what."""


class EifInputError(EifError):
    """An input of the builder that cannot become an image."""


class EifMalformed(EifError):
    """The file is not an EIF of version 4 in the form that the Nitro tools write."""


class EifSignatureInvalid(EifError):
    """The image has a signature that does not fit its certificate or its content."""
