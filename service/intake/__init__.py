"""The story of a callback: bytes, events, rows, commit, answer; and the spool when there is no commit."""
