"""Custom user models: that of Django's documentation, and one without an email address."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class PersonManager(BaseUserManager[Any]):
    """As in Django's documentation."""

    def create_user(self, email, date_of_birth, password=None):
        if not email:
            raise ValueError("Users must have an email address")
        user = self.model(email=self.normalize_email(email), date_of_birth=date_of_birth)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email, date_of_birth, password=None):
        user = self.create_user(email, password=password, date_of_birth=date_of_birth)
        user.is_admin = True
        user.save(using=self._db)
        return user


class Person(AbstractBaseUser):
    """As in Django's documentation: the email address is the user name, and a date is required."""

    email = models.EmailField(max_length=255, unique=True)
    date_of_birth = models.DateField()
    is_admin = models.BooleanField(default=False)

    objects = PersonManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar = ["date_of_birth"]

    @property
    def is_staff(self):
        return self.is_admin


class ClerkManager(BaseUserManager[Any]):
    """It accepts no email address."""

    def create_superuser(self, number, password):
        user = self.model(number=number)
        user.set_password(password)
        user.save(using=self._db)
        return user


class Clerk(AbstractBaseUser):
    """Numbered, without an email address."""

    number = models.PositiveIntegerField(unique=True)

    objects = ClerkManager()

    USERNAME_FIELD = "number"
