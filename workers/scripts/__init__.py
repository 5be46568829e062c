"""Users' scripts on a node: the container that each runs in, and the way its words come out."""
