"""The figures of the notebooks: tables in, matplotlib axes out."""
