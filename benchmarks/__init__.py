"""Measures the service and its peers from outside: imports nothing of the service."""
