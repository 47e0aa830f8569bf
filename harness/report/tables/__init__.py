"""Tables: one per file, the list of all, their forms, and what stands around them."""
