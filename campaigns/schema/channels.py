"""The channels of NOTIFY: what a committed transaction tells every worker."""

TOTALS_CHANNEL = "portal1400_totals"
"""Totals changed; without words."""
BOOK_CHANNEL = "portal1400_book"
"""There is a new book version; its number."""
