"""The enclave's own code and the client that checks it: what runs measured, and what decides whether to trust it."""
