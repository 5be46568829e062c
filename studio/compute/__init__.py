"""Nodes, flavors and the scheduler."""
