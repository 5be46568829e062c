"""In-repo engines in containers: the work of a run, shut in with what it reads and writes."""
