"""zen-edge."""
