"""Door 2: the REST API under /api/v1/. It parses, calls one verb of `hub.services`, and answers JSON."""
