"""All words that are worked out: no Qt."""
