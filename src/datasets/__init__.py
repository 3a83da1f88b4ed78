"""Where pictures come from: archives, layouts, listing, audit."""
