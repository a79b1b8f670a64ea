"""Runs on disk: how they are trained, what is recorded of them, and what probes found."""
