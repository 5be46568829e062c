"""Jobs, their runs, the events that come back up, and the live log."""
