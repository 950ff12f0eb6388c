"""The engine, on tiny random models; torch but no Django here."""
