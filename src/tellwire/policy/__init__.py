"""Decisions without I/O: which events match, what an attempt means, when to try again, how much at once.

Time and randomness come in as arguments, so every decision can be tested and simulated.
"""
