"""The database: tables, engines, transactions, dialect verbs, migrations."""
