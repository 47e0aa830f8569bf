"""Networks that can be built by name, and the table of them."""
