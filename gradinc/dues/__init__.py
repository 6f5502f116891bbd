"""Due rules: they decide when an update is due. One file each."""
