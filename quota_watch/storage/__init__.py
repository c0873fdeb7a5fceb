"""What is kept: schema, claims, the record, migrations; all SQL is here."""
