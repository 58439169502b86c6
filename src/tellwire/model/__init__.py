"""The nouns: frozen values without I/O. See docs/reference/glossary.md for the words."""
