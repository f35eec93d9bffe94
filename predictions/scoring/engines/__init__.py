"""Engines have tasks done: `local` by processes of this machine, `dask` by a cluster."""
