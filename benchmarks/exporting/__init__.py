"""Exports of a large log."""
