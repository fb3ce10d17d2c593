"""The server process of the embedded AWS: moto's services and our CloudFormation on one loopback port."""
