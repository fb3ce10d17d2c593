"""Which ports of a manager's loopback may be forwarded: one web UI of Spark behind each. No CDK import."""

#: Web UIs of the cluster's daemons by their names; the numbers are those that Spark itself uses.
DAEMON_UI_PORTS = {"master": 8080, "worker": 8081, "history": 18080}

#: Drivers' web UIs, assigned to jobs on demand: as many jobs can be looked at at a time.
DRIVER_UI_PORTS = tuple(range(4040, 4050))

#: All that the forwarding document admits.
FORWARDED_PORTS = frozenset((*DAEMON_UI_PORTS.values(), *DRIVER_UI_PORTS))
