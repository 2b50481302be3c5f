"""One file or package per protocol; gateways/registry.py lists them."""
