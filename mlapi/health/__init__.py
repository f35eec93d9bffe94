"""Health: what is checked, the thread that checks it, and the routes that tell the result."""
