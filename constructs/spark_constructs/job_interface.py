"""What stacks, hosts and command line agree on about jobs in the cloud. No CDK import."""

#: Form of a job's id, as sparkvault.jobs makes it; nothing of it means anything to a shell.
JOB_ID_PATTERN = "^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$"

#: Web UIs of the cluster's daemons by their names; the numbers are those that Spark itself uses.
DAEMON_UI_PORTS = {"master": 8080, "worker": 8081, "history": 18080}

#: Drivers' web UIs, assigned to jobs on demand: as many jobs can be looked at at a time.
DRIVER_UI_PORTS = tuple(range(4040, 4050))

#: Where a worker's relay takes connections to its enclaves, the first one's first (assets/hosts/bin/enclave-relay).
ENCLAVE_PORTS = tuple(range(5005, 5009))

#: All ports of a host's loopback that may be forwarded.
FORWARDED_PORTS = frozenset((*DAEMON_UI_PORTS.values(), *DRIVER_UI_PORTS, *ENCLAVE_PORTS))

#: The form of specification that the hosts' launcher reads.
SPECIFICATION_VERSION = 1

#: How a specification refers to a file of the job.
FILE_PREFIX = "files/"

#: What names of a job's files may look like.
FILE_NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.+@=-]{0,127}"

#: Tag of a job's objects and tasks: which tenant's they are. Whoever submits sets it.
TENANT_TAG = "sparkvault:tenant"

#: Tag of a task: who ran it, by IAM's own id of the session, so that only they enter it.
SUBMITTER_TAG = "sparkvault:submitter"

#: Tag of a task: the job it belongs to, the same on a driver and on its executors.
JOB_TAG = "sparkvault:job"

#: The session document that forwards a Spark Connect server of target fargate, by its short name, and the server's port
#: on its task's loopback (spark.connect.grpc.binding.port, Spark's own default).
CONNECT_DOCUMENT = "fargate.connect"
CONNECT_PORT = 15002
