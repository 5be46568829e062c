"""How a node makes a run directory a running engine: as plain processes, later in containers."""
