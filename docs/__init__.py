"""The documentation, and what generates parts of it. Not shipped."""
