"""Reports of runs: pages that need neither a network nor a program besides a browser."""
