"""How a search proposes, trains, stores and resumes its trials."""
