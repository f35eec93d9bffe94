"""What the service must know about its database: whether it can be written, and through what."""
