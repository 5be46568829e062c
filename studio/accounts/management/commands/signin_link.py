"""`manage.py signin_link NAME [--create] [--role ROLE]`: a link that signs its person in once."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from studio.accounts.models import Role, User
from studio.accounts.services import create_signin_link, create_user
from studio.core.errors import StudioError
from studio.points.services import grant_points

# So that whoever starts a studio of their own can launch something at once.
_FIRST_MPOINTS = 100_000
_FIRST_NOTE = "First points of a new administrator"


class Command(BaseCommand):
    help = "Make a one-time sign-in link and print it. It ends the person's earlier ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="username")
        parser.add_argument("--create", action="store_true", help="make the person where new")
        parser.add_argument("--role", choices=Role.values, default=Role.MEMBER, help="where new")

    @transaction.atomic
    def handle(self, *, name: str, create: bool, role: str, **options: Any) -> None:
        try:
            user = User.objects.filter(username=name).first()
            if user is None and not create:
                raise CommandError(f"There is no {name}: add --create to make them.")
            link = create_signin_link(user=user or _create(name, role))
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except StudioError as error:
            raise CommandError(error.message) from error
        self.stdout.write(link)


def _create(name: str, role: str) -> User:
    user = create_user(by=None, username=name, role=role)
    if role == Role.ADMINISTRATOR:
        key = f"first:{user.pk}"
        grant_points(by=None, to=user, mpoints=_FIRST_MPOINTS, note=_FIRST_NOTE, key=key)
    return user
