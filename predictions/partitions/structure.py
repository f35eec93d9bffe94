"""What a table has besides its columns, as statements that give it to another table."""

from collections.abc import Sequence
from dataclasses import dataclass

from predictions.partitions.errors import ConversionRefused
from predictions.partitions.locking import execute

# Each query names something that refers to the table itself, and would go on referring to it as
# the first partition, or that a partitioned table cannot have.
OBSTACLES = {
    "the view {}": """
        SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend d
            JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = %(table)s::regclass
            AND r.ev_class <> d.refobjid
    """,
    "the rule {}": "SELECT rulename FROM pg_rewrite WHERE ev_class = %(table)s::regclass",
    "the publication {}": """
        SELECT pubname FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid
        WHERE prrelid = %(table)s::regclass
    """,
    "the row-level security policy {}": (
        "SELECT polname FROM pg_policy WHERE polrelid = %(table)s::regclass"
    ),
    "the inheriting table {}": (
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %(table)s::regclass"
    ),
    "the unique index {}, which does not have the id": """
        SELECT indexrelid::regclass::text FROM pg_index
        WHERE indrelid = %(table)s::regclass AND indisunique AND NOT indisprimary
    """,
    "the invalid index {}": """
        SELECT indexrelid::regclass::text FROM pg_index
        WHERE indrelid = %(table)s::regclass AND NOT indisvalid
    """,
    "the constraint {}, which is not validated": """
        SELECT conname FROM pg_constraint
        WHERE conrelid = %(table)s::regclass AND NOT convalidated AND conname <> %(bound)s
    """,
    "the trigger {}, which reads transition tables": """
        SELECT tgname FROM pg_trigger WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal
            AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL)
    """,
}


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key: the name, the table that has it, and its definition, always validated."""

    name: str
    table: str
    referenced: str
    definition: str


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index: its name, the statement that creates it, and its comment."""

    name: str
    definition: str
    comment: str | None

    def name_in(self, partition: str) -> str:
        """The name of the same index of a partition; names are cut at 63 characters."""
        return f"{partition}_{self.name}"[:63]

    def statements(self) -> list[str]:
        """Create it."""
        if self.comment is None:
            return [self.definition]
        return [self.definition, f"COMMENT ON INDEX {self.name} IS {_literal(self.comment)}"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger: its name, the statement that creates it, and in which sessions it fires."""

    name: str
    definition: str
    enabled: str

    def statements(self, table: str) -> list[str]:
        """Create it on the table."""
        words = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
        if self.enabled not in words:
            return [self.definition]
        enable = f"ALTER TABLE {table} {words[self.enabled]} TRIGGER {self.name}"
        return [self.definition, enable]


@dataclass(frozen=True, slots=True)
class Details:
    """The owner, the grants and the comment of a table or a sequence."""

    kind: str
    owner: str
    grants: Sequence[str]
    comment: str | None

    @classmethod
    def of(cls, relation: str) -> "Details":
        row = execute(
            "SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,"
            " quote_ident(pg_get_userbyid(relowner)), obj_description(oid, 'pg_class')"
            " FROM pg_class WHERE oid = %s::regclass",
            [relation],
        )[0]
        return cls(row[0], row[1], _grants(relation), row[2])

    def statements(self, relation: str) -> list[str]:
        """Give them to another relation of the same kind."""
        given = [f"ALTER {self.kind} {relation} OWNER TO {self.owner}"]
        given += [grant.format(relation) for grant in self.grants]
        if self.comment is not None:
            given.append(f"COMMENT ON {self.kind} {relation} IS {_literal(self.comment)}")
        return given


def require_convertible(table: str, bound: str) -> None:
    """Raise ConversionRefused if the table has what would not survive; `bound` is a constraint of
    the conversion's own.
    """
    found = [
        description.format(name)
        for description, query in OBSTACLES.items()
        for (name,) in execute(query, {"table": table, "bound": bound})
    ]
    if found:
        raise ConversionRefused(
            f"The table {table} has {', '.join(found)}. Drop what is listed, convert, and create it"
            " again on the partitioned table, if that can have it."
        )


def foreign_keys(table: str) -> Sequence[ForeignKey]:
    """Those of the table and those that refer to it; not those that partitions inherit."""
    rows = execute(
        "SELECT quote_ident(conname), conrelid::regclass::text, confrelid::regclass::text,"
        " replace(pg_get_constraintdef(oid), ' NOT VALID', '') FROM pg_constraint"
        " WHERE contype = 'f' AND conparentid = 0 AND %(table)s::regclass IN (conrelid, confrelid)"
        " ORDER BY conname",
        {"table": table},
    )
    return [ForeignKey(*row) for row in rows]


def indexes(table: str) -> Sequence[Index]:
    """The secondary indexes."""
    rows = execute(
        "SELECT relname, pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class')"
        " FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
        " WHERE indrelid = %s::regclass AND NOT indisprimary ORDER BY relname",
        [table],
    )
    return [Index(*row) for row in rows]


def primary_key(table: str) -> str:
    """The name of the constraint."""
    rows = execute(
        "SELECT quote_ident(conname) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype = 'p'",
        [table],
    )
    return str(rows[0][0])


def triggers(table: str) -> Sequence[Trigger]:
    rows = execute(
        "SELECT quote_ident(tgname), pg_get_triggerdef(oid), tgenabled FROM pg_trigger"
        " WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY tgname",
        [table],
    )
    return [Trigger(*row) for row in rows]


def _grants(relation: str) -> list[str]:
    """Statements that grant what is granted, with `{}` for the relation."""
    rows = execute(
        "SELECT '' AS columns, relkind, a.* FROM pg_class, aclexplode(relacl) a"
        " WHERE oid = %(relation)s::regclass"
        " UNION ALL SELECT ' (' || quote_ident(attname) || ')', 'r', a.*"
        " FROM pg_attribute, aclexplode(attacl) a WHERE attrelid = %(relation)s::regclass",
        {"relation": relation},
    )
    found = []
    for columns, kind, _, grantee, privilege, is_grantable in rows:
        role = "PUBLIC"
        if grantee:
            role = execute("SELECT quote_ident(pg_get_userbyid(%s))", [grantee])[0][0]
        on = "SEQUENCE {}" if kind == "S" else "{}"
        option = " WITH GRANT OPTION" if is_grantable else ""
        found.append(f"GRANT {privilege}{columns} ON {on} TO {role}{option}")
    return found


def _literal(text: str) -> str:
    return str(execute("SELECT quote_literal(%s)", [text])[0][0])
