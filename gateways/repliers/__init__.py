"""Repliers: how each protocol carries an SMS to a donor where its own answer does not."""
