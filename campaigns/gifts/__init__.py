"""What a gift is: its events, its money lines, and how they are stored."""
