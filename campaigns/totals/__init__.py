"""What the money lines sum to, and who is told when that changes."""
