"""What KMS does with key policies and attestation documents, over moto's keys: a stand-in that enforces the real rules.

`installation.install` puts it between moto's KMS and its callers. A caller with credentials of a role is judged by the
key's policy and the role's own; the deployer's test credentials are not, so that stacks can be deployed.
"""
