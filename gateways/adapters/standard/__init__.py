"""The `standard` protocol."""
