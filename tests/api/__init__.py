"""Door 2, call by call; every answer is held against the schema it announces."""
