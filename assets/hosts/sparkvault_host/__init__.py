"""What runs on a host of target swarm: agent, credentials broker, launcher; Python 3.9, nothing to install."""
