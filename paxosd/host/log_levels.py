"""The levels of the log, the wordiest first."""

LEVELS = ("debug", "info", "warning", "error")
