"""Target `local`: a real Spark standalone cluster on this machine, for learning and tests.

`cluster.LocalCluster` brings it up and down; `target.LocalTarget` runs jobs on it.
"""
