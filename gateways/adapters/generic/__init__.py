"""The `generic` protocol."""
