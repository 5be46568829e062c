"""What a repo's pages show beside the repo itself: folders, history, tensors, losses."""
