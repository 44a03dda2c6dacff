"""A module a provider: its name with `_` for `-` and `.`, and `SIGNER` in it (`NAME`, where the name has a dot).

Most are one call: `hmac_signer`, `public_key_signer`, `header_token_signer`, `query_token_signer`, `basic_signer` or
`body_secret_signer`, with five bodies or more. Where the provider has an SDK, `accepts` asks it about every request, and
`sdks.txt` pins it; where that SDK signs, `sign` is the SDK's. Of what is hostile elsewhere and is not here, `leaves_out` says so.

SDKs are imported by `import_module`: they are installed only where vectors are made, and types are checked where they are not.
"""
