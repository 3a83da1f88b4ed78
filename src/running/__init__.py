"""What every run needs: locks, resources, settings, a record of what made it."""
