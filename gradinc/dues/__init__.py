"""What decides when an update is due, one file each."""
