"""Brings models and datasets in from elsewhere for people, with progress, resume and cancel."""
