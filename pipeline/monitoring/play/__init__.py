"""`flightline play`: rows after production's own data, played to the real server day by day, and what follows from it.

Everything that judges is what runs in production: server, prediction log, store, `observe`, `retrain` and the gates.
Only time is played, and a person who merges at once.
"""
