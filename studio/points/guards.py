"""The triggers that keep the ledger true, whatever code does. One set per database, same rules:

1. Entries and transfers are neither changed nor deleted.
2. An entry says the balance it leaves behind, and that is the account's balance plus its amount.
3. Storing an entry moves its account's balance; nothing else does.
4. Storing an entry adds to its transfer's imbalance; a reference checked at commit allows only 0.

The balance is thus the sum of the entries at every commit, by induction, without ever summing them.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

_LAST_BALANCE = """coalesce((SELECT balance_after FROM points_entry
    WHERE account_id = NEW.id ORDER BY id DESC LIMIT 1), 0)"""
_SUM = "(SELECT sum(amount) FROM points_entry WHERE transfer_id = NEW.id)"
_BALANCE = "SELECT balance FROM points_pointaccount WHERE id = NEW.account_id"
_MOVE_BALANCE = (
    "UPDATE points_pointaccount SET balance = NEW.balance_after WHERE id = NEW.account_id"
)
_ADD_IMBALANCE = (
    "UPDATE points_transfer SET imbalance = imbalance + NEW.amount WHERE id = NEW.transfer_id"
)

# name: (when, table, condition under which it is refused, why)
_REFUSALS = {
    "point_entry_update": ("UPDATE", "points_entry", "1=1", "entries are never changed"),
    "point_entry_delete": ("DELETE", "points_entry", "1=1", "entries are never deleted"),
    "point_transfer_delete": ("DELETE", "points_transfer", "1=1", "transfers are never deleted"),
    "point_transfer_insert": (
        "INSERT",
        "points_transfer",
        "NEW.imbalance <> 0",
        "a transfer begins without entries",
    ),
    "point_transfer_update": (
        "UPDATE",
        "points_transfer",
        "NEW.id <> OLD.id OR NEW.user_id <> OLD.user_id OR NEW.reason <> OLD.reason"
        " OR NEW.note <> OLD.note OR NEW.key <> OLD.key OR NEW.created_at <> OLD.created_at"
        " OR coalesce(NEW.by_id, 0) <> coalesce(OLD.by_id, 0)"
        " OR coalesce(CAST(NEW.run_id AS text), '') <> coalesce(CAST(OLD.run_id AS text), '')"
        f" OR NEW.imbalance <> coalesce({_SUM}, 0)",
        "transfers are never changed",
    ),
    "point_account_insert": (
        "INSERT",
        "points_pointaccount",
        "NEW.balance <> 0",
        "an account begins empty",
    ),
    "point_account_update": (
        "UPDATE",
        "points_pointaccount",
        "NEW.id <> OLD.id OR NEW.kind <> OLD.kind"
        " OR coalesce(NEW.user_id, 0) <> coalesce(OLD.user_id, 0)"
        f" OR NEW.balance <> {_LAST_BALANCE}",
        "a balance moves by entries alone",
    ),
    "point_entry_insert": (
        "INSERT",
        "points_entry",
        f"NEW.balance_after <> ({_BALANCE}) + NEW.amount",
        "an entry names the balance it leaves behind",
    ),
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers and the row that is zero; those that are there are made anew."""
    remove(connection)
    write = _write_postgres if connection.vendor == "postgresql" else _write_sqlite
    with connection.cursor() as cursor:
        for statement in write():
            cursor.execute(statement)
        cursor.execute("INSERT INTO points_zero (id) VALUES (0) ON CONFLICT DO NOTHING")


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers. Only for emptying the whole database."""
    is_postgres = connection.vendor == "postgresql"
    tables = {name: table for name, (_, table, _, _) in _REFUSALS.items()}
    with connection.cursor() as cursor:
        for name, table in {**tables, "point_entry_moves": "points_entry"}.items():
            on_table = f" ON {table}" if is_postgres else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def _write_sqlite() -> list[str]:
    refusals = [
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {condition} "
        f"BEGIN SELECT RAISE(ABORT, 'points: {why}'); END"
        for name, (event, table, condition, why) in _REFUSALS.items()
    ]
    moves = (
        "CREATE TRIGGER point_entry_moves AFTER INSERT ON points_entry "
        f"BEGIN {_MOVE_BALANCE}; {_ADD_IMBALANCE}; END"
    )
    return [*refusals, moves]


def _write_postgres() -> list[str]:
    statements = []
    for name, (event, table, condition, why) in _REFUSALS.items():
        row = "OLD" if event == "DELETE" else "NEW"
        # SQLite has one writer; here two could read the same balance.
        condition = condition.replace(_BALANCE, f"{_BALANCE} FOR UPDATE")
        body = (
            f"IF {condition} THEN RAISE EXCEPTION 'points: {why}' "
            f"USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN {row};"
        )
        statements += _write_trigger(name, f"BEFORE {event} ON {table}", body)
    moves = f"{_MOVE_BALANCE}; {_ADD_IMBALANCE}; RETURN NULL;"
    return [
        *statements,
        *_write_trigger("point_entry_moves", "AFTER INSERT ON points_entry", moves),
    ]


def _write_trigger(name: str, when: str, body: str) -> list[str]:
    function = f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
    return [
        f"{function} $$ BEGIN {body} END $$",
        f"CREATE TRIGGER {name} {when} FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]
