"""Asks KMS for data keys from inside the enclave: the answer is sealed to a key that only this enclave holds."""

from spark_enclave.kms.attested_kms import AttestedKms, KmsCredentials, KmsKeyArn, KmsRefused

__all__ = ["AttestedKms", "KmsCredentials", "KmsKeyArn", "KmsRefused"]
