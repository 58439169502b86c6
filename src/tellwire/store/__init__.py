"""The store: the only place with SQL. Tables, queries by noun, and what differs between databases.

Queries are plain functions of an open SQLAlchemy connection; stages hand them to ``Store.read`` and ``Store.write``.
"""
