"""What targets in the cloud share: jobs go through the job bucket, their output comes from CloudWatch Logs."""
