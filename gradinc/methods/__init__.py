"""Methods: one idea from a paper each, with as many hooks as it needs. One file each."""
