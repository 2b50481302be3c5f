"""Carriers' wire protocols: bytes into events, outcomes into bytes. Pure: no I/O of any kind."""
