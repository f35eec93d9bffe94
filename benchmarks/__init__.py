"""Measures the service beside its peers, from outside: imports nothing of it."""
