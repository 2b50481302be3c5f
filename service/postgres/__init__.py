"""The database as a process uses it."""
