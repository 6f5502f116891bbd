"""Rules of a window: how the gradients of its micro-batches become one. One file each."""
