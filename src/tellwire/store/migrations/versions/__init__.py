"""One file per migration, in order. A migration that has been released never changes."""
