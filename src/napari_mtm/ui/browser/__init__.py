"""The panel in which sessions are found: places to look in, filters, a table, a login."""
