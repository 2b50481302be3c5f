"""HTTP as such: sockets, limits, refusals. Knows no campaign and no callback."""
