"""The demo: base model, starter catalogue, and the driver of `make demo`."""
