"""What client and enclave agree on: the attested structure, the keys, the sealed messages. See docs/protocol.md."""
