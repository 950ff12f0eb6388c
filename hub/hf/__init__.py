"""Door 3: the Hugging Face Hub protocol, so that its clients work here unmodified. It parses, calls one verb of `hub.services`, and answers."""
