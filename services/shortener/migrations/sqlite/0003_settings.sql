-- Numbers that hold for the installation, by name: since when orphan visits are shown.

CREATE TABLE settings (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
