"""Rules of a window: they combine the gradients of its micro-batches into one. One file each."""
