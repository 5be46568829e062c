"""Users, sign-in links and API tokens."""
