from sqlalchemy import select

from quota_watch.storage.schema import among, organization
from support.pages import NOW, Filler


def test_more_keys_than_a_statement_takes_parameters(database):
    filler = Filler(database, NOW)
    filler.organization("one")
    with database.read() as connection:
        names = connection.scalars(
            select(organization.c.id).where(among(organization.c.pk, range(70_000)))
        )
        assert [*names] == ["org_one"]


def test_among_nothing_there_is_nothing(database):
    Filler(database, NOW).organization("one")
    with database.read() as connection:
        found = connection.scalars(select(organization.c.id).where(among(organization.c.pk, ())))
        assert [*found] == []
