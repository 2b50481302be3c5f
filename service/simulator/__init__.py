"""Carriers played over HTTP: real wire protocols in, and afterwards the totals must have grown by just that.

`runner.simulate` is the whole of it; service/commands/simulate.py is its command, and `demo` calls it too. It
speaks to the public listener only and puts nothing into a database itself.
"""
