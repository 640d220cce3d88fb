"""Projects of other teams, walked from the built wheel to a verified deployment: see ``walks.py``."""
