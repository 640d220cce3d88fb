"""An app with custom user models. AUTH_USER_MODEL selects one."""
