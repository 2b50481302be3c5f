"""The other side of each adapter, one file per protocol; gateways/registry.py lists them."""
