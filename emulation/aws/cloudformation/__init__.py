"""A CloudFormation engine: stacks, change sets, events, signals and rollback over the resource types in `..resources`."""
