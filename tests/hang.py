"""How long a test waits for what comes at once: no machine is so slow, and a hang still ends."""

HANG = 3600.0
"""Seconds."""

PATIENT = {"timeout": None, "startup_timeout": HANG, "iopub_timeout": HANG}
"""Options of nbclient's NotebookClient."""
