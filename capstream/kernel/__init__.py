"""What every part may use: clock, ids, errors, json, log, metrics, sftp. A closed list: a new module needs an ADR."""
