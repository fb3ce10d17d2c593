"""What a YARN host runs beside Hadoop: its configuration, tenants, and the enforcement of one container runtime.

Python 3.9, standard library only: hosts have nothing else.
"""
