"""Published tables: comparison of their numbers with ours, with a verdict."""
