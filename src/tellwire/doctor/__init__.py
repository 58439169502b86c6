"""The doctor: looks at everything that a Tellwire stands on, and says in plain words what is wrong and what to do.

It changes nothing but the counter by which it sees that the database can be written.
"""
