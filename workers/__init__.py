"""The nodes: processes, GPUs and the queue. They know the engine's contracts, and no people."""
