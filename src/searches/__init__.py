"""How a search proposes, trains, keeps and takes over its trials."""
