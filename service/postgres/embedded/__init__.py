"""A PostgreSQL of our own under DATA_DIR, shared by its users and kept by a small process."""
