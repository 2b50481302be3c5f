"""The Prometheus families, a group for each room of the service; docs/metrics.md is made from what they say here."""
