"""Which repos every node lays out under /share, for the machines and jobs on it to read."""
