"""Locks between processes: in PostgreSQL for all machines, in files for those of one machine."""
