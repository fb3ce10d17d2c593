"""A CloudFormation engine: stacks, change sets, events, signals and rollback over the types in `..resources`."""
