"""Reusable CDK constructs for Spark on AWS, and the configuration that drives them.

Nothing is imported here: `spark_constructs.config` must load without the CDK, which takes seconds.
"""
