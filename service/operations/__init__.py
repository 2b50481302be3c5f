"""What has to happen beside the intake: housekeeping, health, proofs, backups."""
