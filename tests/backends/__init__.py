"""Database backends as other packages have them: their names do not show what they are for."""
