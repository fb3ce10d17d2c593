"""The credentials broker: short-lived sessions of a tenant's role for its jobs' containers, and nobody else."""
