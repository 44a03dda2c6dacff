"""Makes `tests/providers/vectors/NAME.json`: requests as a provider sends them, and as an attacker would.

None of this uses the adapters: what they are judged by must not be made by them. A provider has a module in `signers`, with
`SIGNER` in it. `make vectors` runs all of them, `make vectors NAME=stripe` one, where the SDKs of `sdks.txt` are installed.
"""
