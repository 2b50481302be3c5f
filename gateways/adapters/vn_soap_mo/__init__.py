"""The `vn_soap_mo` protocol."""
