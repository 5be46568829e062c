"""Journeys of people through the dashboard, in a real browser against a running studio."""
