"""Model and dataset repos, and the Hugging Face Hub-compatible API."""
