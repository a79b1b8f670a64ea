"""Runs that ship, each read once in a process, where nothing of how they are read is changed."""

from grokinterp.reproduction.cached_run import CachedRun

SHIPPED: dict[str, CachedRun] = {}
"""By path, as `make_plan` takes and fills it."""
