"""Methods: one idea from a paper each, in as many hooks as it needs. One file each."""
