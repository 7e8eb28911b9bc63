"""The daemon that decides: inventory, migrations, events."""
