"""What the database believes of the hub's tables, told anew when a push has outgrown it."""

from django.db import connection

_TABLES = ("hub_commitfile", "hub_blob")
_MANY = 1000


def tell_planner(num_files: int) -> None:
    """Have PostgreSQL look at tables that a commit of so many files has made much larger.

    It looks by itself within a minute or so. Until then it takes a new hub's tables for tiny and
    joins them row by row: of 1,000 files a list took a hundred times as long, of more the square.
    """
    if num_files < _MANY or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [_TABLES[0]])
        (believed,) = cursor.fetchone()
        if believed < 10 * num_files:
            cursor.execute(f"ANALYZE {', '.join(_TABLES)}")
