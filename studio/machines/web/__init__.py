"""The way of browsers into dev machines: each port is an origin of its own."""
