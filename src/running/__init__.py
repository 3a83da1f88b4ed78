"""What every run needs: locks, resources, settings, and a record of what produced it."""
