"""The story of a migration, told once for every kind."""
