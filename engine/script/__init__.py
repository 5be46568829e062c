"""Scripts of users: what goes into a container and what comes out of it. The node runs it."""
