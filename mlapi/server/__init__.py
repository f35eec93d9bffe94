"""The production server: `python -m mlapi.server`, the process that `manage.py serve` becomes.

The parent process only forks and supervises. It loads no application and opens no connection or
model: forking these leaves children that hang.
"""
