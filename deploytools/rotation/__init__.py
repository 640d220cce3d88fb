"""Rotation of the application's password without a failed request: two logins that take turns, one owner."""
