"""Which sessions a place has, and what is known of them before they are opened."""
