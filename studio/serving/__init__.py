"""Deployments of base models, and the OpenAI-compatible gateway."""
