"""What is generated from the declarations: the JSON Schema of their words, and a page a provider. Run by `make docs`."""
