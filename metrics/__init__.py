"""The numbers we publish: Prometheus instruments, the live board, the invariants. Knows no protocol."""
