"""The life of a campaign: what one person proposes and another approves."""
