"""`manage.py token NAME [--role ROLE] [--admin]`: a fresh API token for scripts."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from studio.accounts.models import Role, User
from studio.accounts.services import create_personal_token, create_user
from studio.core.errors import StudioError


class Command(BaseCommand):
    help = "Make an API token and print it, once. A person who is new is created."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="username")
        parser.add_argument("--role", choices=Role.values, default=Role.MEMBER, help="where new")
        parser.add_argument("--admin", action="store_true", help="add the scope admin")
        parser.add_argument("--create", action="store_true", help="the default")

    def handle(self, *, name: str, role: str, admin: bool, **options: Any) -> None:
        scopes = ["read", "write", "chat", *(["admin"] if admin else [])]
        try:
            user = User.objects.filter(username=name).first()
            user = user or create_user(by=None, username=name, role=role)
            _, raw = create_personal_token(
                user=user, name="command line", scopes=scopes, expires_in_days=None
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except StudioError as error:
            raise CommandError(error.message) from error
        self.stdout.write(raw)
