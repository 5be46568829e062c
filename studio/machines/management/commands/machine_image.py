"""`manage.py machine_image add|retire|list`: which images dev machines may start from."""

from django.core.management.base import BaseCommand, CommandError

from studio.core.errors import StudioError
from studio.machines.images import register_image, retire_image
from studio.machines.models import Image


class Command(BaseCommand):
    help = "Offer an image for dev machines by its digest or id, retire one, or list them."

    def add_arguments(self, parser):
        what = parser.add_subparsers(dest="what", required=True)
        add = what.add_parser("add", help="Offer an image, or say anew what one is.")
        add.add_argument("name")
        add.add_argument("reference", help="name@sha256:..., or an image's id: sha256:...")
        add.add_argument("--title", default="")
        add.add_argument("--tool", action="append", default=[], metavar="NAME=PORT")
        add.add_argument("--flavor", action="append", default=[], help="None is all.")
        add.add_argument(
            "--idle-s",
            type=int,
            help="Its machines stop after so much idleness; 0 is never, none what the studio has.",
        )
        what.add_parser("retire", help="Offer it no longer.").add_argument("name")
        what.add_parser("list", help="List what is offered.")

    def handle(self, *args, **options):
        try:
            getattr(self, f"_{options['what']}")(options)
        except StudioError as error:
            raise CommandError(error.message) from error

    def _add(self, options):
        tools = {}
        for text in options["tool"]:
            name, equals, port = text.partition("=")
            if not equals or not port.isdigit():
                raise CommandError(f"--tool {text}: write NAME=PORT, such as vscode=8080.")
            tools[name] = int(port)
        image = register_image(
            by=None,
            name=options["name"],
            reference=options["reference"],
            title=options["title"],
            tools=tools,
            flavors=options["flavor"],
            idle_s=options["idle_s"],
        )
        self.stdout.write(f"{image.name} is offered: {image.reference}")

    def _retire(self, options):
        retire_image(by=None, name=options["name"])
        self.stdout.write(f"{options['name']} is offered no longer.")

    def _list(self, options):
        for image in Image.objects.filter(owner=None).order_by("name"):
            state = "" if image.is_active else "  (retired)"
            tools = ", ".join(f"{name}={port}" for name, port in image.ordered_tools.items())
            self.stdout.write(f"{image.name}  {image.reference}  {tools}{state}")
