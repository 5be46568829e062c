"""Dev machines: people's containers on nodes, the browser's way into them and SSH's."""
