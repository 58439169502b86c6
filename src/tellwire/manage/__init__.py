"""The control plane: tenants, endpoints, keys, and deliveries by hand."""
