"""The scenarios: each measures one thing and gives one table."""
