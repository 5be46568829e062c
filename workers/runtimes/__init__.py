"""How a node makes a run directory a running engine: as processes, users' scripts in containers."""
