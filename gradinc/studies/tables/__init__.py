"""Published tables: their numbers beside ours, with a verdict."""
