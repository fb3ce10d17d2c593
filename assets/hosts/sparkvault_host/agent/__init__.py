"""The swarm agent: makes this host what it should be in the cluster's swarm, from any state."""
