"""Totals on their way to whoever looks."""
