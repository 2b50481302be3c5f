"""A carrier's link proved before it counts: its protocol played, case by case, against a running service.

`run.conformance` is the whole of it; service/commands/conformance.py is its command. Only test accounts are played.
"""
