"""Tables in, axes out: one module a notebook."""
