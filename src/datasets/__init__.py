"""Where pictures come from, which of them are used, and how they are split."""
