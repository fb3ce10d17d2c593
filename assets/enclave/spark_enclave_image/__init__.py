"""Enclave image files (EIF): build one, measure one, say what is in it. Not part of the measured image itself."""

from spark_enclave_image.eif_builder import BuildMetadata, build
from spark_enclave_image.eif_format import Architecture
from spark_enclave_image.eif_reader import EifImage, describe, measure, read
from spark_enclave_image.errors import EifError, EifInputError, EifMalformed, EifSignatureInvalid
from spark_enclave_image.image_signing import ImageSigner
from spark_enclave_image.measurements import Measurements

__all__ = [
    "Architecture",
    "BuildMetadata",
    "EifError",
    "EifImage",
    "EifInputError",
    "EifMalformed",
    "EifSignatureInvalid",
    "ImageSigner",
    "Measurements",
    "build",
    "describe",
    "measure",
    "read",
]
