"""What people did: the audit log, append-only."""
