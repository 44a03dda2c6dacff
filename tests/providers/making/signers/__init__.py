"""A module a provider: its name with `_` for `-` and `.`, and `SIGNER` in it (`NAME`, where the name has a dot).

SDKs are imported by `import_module`: they are installed only where vectors are made, and types are checked where they are not.
"""
