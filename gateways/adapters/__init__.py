"""One file per protocol; gateways/registry.py lists them."""
