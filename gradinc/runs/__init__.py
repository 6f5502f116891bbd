"""One run: built, trained, saved, resumed and opened again."""
