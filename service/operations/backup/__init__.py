"""A backup with a manifest of its figures, and its way back."""
