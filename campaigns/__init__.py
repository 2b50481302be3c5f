"""What a donor may text, what a gift is, how it is stored, what it sums to. Knows no carrier's protocol."""
