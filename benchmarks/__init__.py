"""How fast Tellwire is, measured from outside: real processes on loopback, a real database on a real disk."""
