"""Finding repos: what is noted of each one, and the search over it. It reads no weights."""
