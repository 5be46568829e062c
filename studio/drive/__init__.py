"""The drive: each person's home of real files, seen in the browser and mounted into machines."""
