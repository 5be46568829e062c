"""Dev machines on a node: what the studio wants of them, and the containers that they are."""
