"""Fuzz targets for parsers in Python: bytes that find their own way through the code, with what must hold of each."""
