"""The SSH gateway: `ssh NAME@host` into a dev machine."""
