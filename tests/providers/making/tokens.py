"""Providers that send the secret itself: in a header, as a password, in the URL or in the body."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tests.providers.making.bodies import Body, compact
from tests.providers.making.request import Request
from tests.providers.making.signer import Case, Signer


def header_token_signer(*, header: str, bodies: Sequence[Body], mark: str = "", **more: Any) -> Signer:
    """Return the signer of a provider that sends its secret in ``header``, behind ``mark`` (`Bearer `)."""

    def sign(request: Request, secret: str, stamp: str) -> Request:
        return request.with_header(header, mark + secret)

    def changes(signer: Signer) -> Iterator[Case]:
        good, secret = signer.signed(), signer.secret

        def said(text: str, *values: str) -> Case:
            return Case(text, good.with_header(header, *values))

        yield said("no token")
        yield said("an empty token", "")
        yield said("nothing but what stands before the token", mark.strip() or " ")
        yield said("another token", mark + signer.other_secret)
        yield said("the token without its last character", mark + secret[:-1])
        yield said("only the first character of the token", mark + secret[:1])
        yield said("one character more than the token", f"{mark}{secret}x")
        yield said("the token twice in one header", f"{mark}{secret}, {mark}{secret}")
        yield said("the header twice", mark + secret, mark + secret)
        yield said("the header twice, the second one foreign", mark + secret, mark + signer.other_secret)
        if secret.swapcase() != secret:
            yield said("the token with its case changed", mark + secret.swapcase())
        yield said("the token in base64", mark + base64.b64encode(secret.encode()).decode())
        yield said("the token as basic authentication", "Basic " + base64.b64encode(f":{secret}".encode()).decode())
        yield said("letters outside ASCII for a token", mark + "é" * len(secret))
        yield said("letters outside latin-1 for a token", f"{mark}тайна")
        yield said("a NUL behind the token", f"{mark}{secret}\x00")
        yield said("a thousand tokens", mark + "x, " * 1000)
        if mark:
            yield said("nothing before the token", secret)
            yield said("something else before the token", f"Token-Of {secret}")
        else:
            yield said("something before the token", f"Bearer {secret}")
        yield Case(
            "the token in the query",
            replace(good.with_header(header), url=f"{good.url}?token={quote(secret, safe='')}"),
        )

    return Signer(bodies=bodies, sign=sign, hostile=[changes, *more.pop("hostile", ())], **more)


def basic_signer(*, bodies: Sequence[Body], header: str = "Authorization", **more: Any) -> Signer:
    """Return the signer of a provider that authenticates by HTTP basic; secrets are `user:password`."""

    def sign(request: Request, secret: str, stamp: str) -> Request:
        return request.with_header(header, _basic(secret))

    def changes(signer: Signer) -> Iterator[Case]:
        good = signer.signed()
        user, _, password = signer.secret.partition(":")

        def said(text: str, *values: str) -> Case:
            return Case(text, good.with_header(header, *values))

        yield said("no authorization")
        yield said("an empty authorization", "")
        yield said("nothing but the scheme", "Basic")
        yield said("another password", _basic(signer.other_secret))
        yield said("another user", _basic(f"someone:{password}"))
        yield said("user and password exchanged", _basic(f"{password}:{user}"))
        yield said("no colon between user and password", _basic(user + password))
        yield said("the user alone", _basic(user))
        yield said("no password", _basic(f"{user}:"))
        yield said("no user", _basic(f":{password}"))
        yield said("the password without its last character", _basic(signer.secret[:-1]))
        yield said("one character more than the password", _basic(f"{signer.secret}x"))
        yield said("a newline behind the password", _basic(f"{signer.secret}\n"))
        yield said("no base64", "Basic %%%")
        yield said("base64 without its end", _basic(signer.secret)[:-3])
        yield said("user and password as they are", f"Basic {signer.secret}")
        yield said("the password as a bearer token", f"Bearer {password}")
        yield said("digest authentication", f'Digest username="{user}"')
        yield said("the header twice", _basic(signer.secret), _basic(signer.secret))
        yield said("two schemes in one header", f"{_basic(signer.secret)}, {_basic(signer.secret)}")
        yield said("letters outside ASCII", "Basic " + "é" * 20)
        yield said("letters outside latin-1", "Basic тайна")
        yield said("a NUL at the end", f"{_basic(signer.secret)}\x00")

    return Signer(bodies=bodies, sign=sign, hostile=[changes, *more.pop("hostile", ())], **more)


def query_token_signer(*, parameter: str, bodies: Sequence[Body], **more: Any) -> Signer:
    """Return the signer of a provider whose URL holds the secret as a ``parameter``."""

    def sign(request: Request, secret: str, stamp: str) -> Request:
        mark = "&" if "?" in request.url else "?"
        return replace(request, url=f"{request.url}{mark}{parameter}={quote(secret, safe='')}")

    def changes(signer: Signer) -> Iterator[Case]:
        good, secret = signer.signed(), quote(signer.secret, safe="")
        bare = good.url.removesuffix(f"{parameter}={secret}")

        def said(text: str, query: str) -> Case:
            return Case(text, replace(good, url=(bare + query).rstrip("?&")))

        yield said("no token", "")
        yield said("an empty token", f"{parameter}=")
        yield said("a parameter without a value", parameter)
        yield said("another token", f"{parameter}={quote(signer.other_secret, safe='')}")
        yield said("the token without its last character", f"{parameter}={secret[:-1]}")
        yield said("one character more than the token", f"{parameter}={secret}x")
        yield said("the token twice", f"{parameter}={secret}&{parameter}={secret}")
        yield said("two tokens, the second one foreign", f"{parameter}={secret}&{parameter}=x")
        yield said("two tokens, the first one foreign", f"{parameter}=x&{parameter}={secret}")
        yield said("the token under another name", f"other_{parameter}={secret}")
        yield said("the token as a list", f"{parameter}[]={secret}")
        if (
            signer.secret.isalnum() and secret.swapcase() != secret
        ):  # else escapes would change theirs, and mean the same
            yield said("the token with its case changed", f"{parameter}={secret.swapcase()}")
        yield said("letters outside ASCII for a token", f"{parameter}=%C3%A9%FF")
        yield said("a NUL behind the token", f"{parameter}={secret}%00")
        yield said("a thousand tokens", "&".join([f"{parameter}=x"] * 1000))
        yield Case("the token in a header", replace(good, url=bare.rstrip("?&")).with_header(parameter, signer.secret))
        yield Case(
            "the token as a bearer token",
            replace(good, url=bare.rstrip("?&")).with_header("Authorization", f"Bearer {signer.secret}"),
        )

    return Signer(bodies=bodies, sign=sign, hostile=[changes, *more.pop("hostile", ())], **more)


def body_secret_signer(*, member: str, bodies: Sequence[Body], **more: Any) -> Signer:
    """Return the signer of a provider that repeats the secret as a ``member`` of each body, a JSON object."""

    def sign(request: Request, secret: str, stamp: str) -> Request:
        # As text, so that the body keeps the form it is written in.
        opened = request.body.rstrip()
        assert opened.endswith(b"}")
        comma = b"" if opened[:-1].rstrip().endswith(b"{") else b","
        own = f"{json.dumps(member)}:{json.dumps(secret, ensure_ascii=False)}}}".encode()
        return request.with_body(opened[:-1].rstrip() + comma + own + request.body[len(opened) :])

    def changes(signer: Signer) -> Iterator[Case]:
        event: dict[str, object] = json.loads(signer.bodies[0].content)
        good, secret, other = signer.signed(), signer.secret, signer.other_secret

        def said(text: str, **members: object) -> Case:
            return Case(text, good.with_body(compact(event | members)))

        def written(text: str, *values: str) -> Case:
            own = "".join(f",{json.dumps(member)}:{value}" for value in values)
            return Case(text, good.with_body(compact(event)[:-1] + own.encode() + b"}"))

        yield said("no secret")
        yield said("an empty secret", **{member: ""})
        yield said("another secret", **{member: other})
        yield said("the secret without its last character", **{member: secret[:-1]})
        yield said("one character more than the secret", **{member: f"{secret}x"})
        yield said("a newline behind the secret", **{member: f"{secret}\n"})
        yield said("the secret in a list", **{member: [secret]})
        yield said("the secret in an object", **{member: {member: secret}})
        yield said("a number for a secret", **{member: 1})
        yield said("a number of four hundred digits for a secret", **{member: int("9" * 400)})
        yield said("null for a secret", **{member: None})
        yield said("true for a secret", **{member: True})
        yield said("the secret only further down", data={member: secret})
        yield said("the secret under its name in capitals", **{member.upper(): secret})
        yield written("the secret twice", json.dumps(secret), json.dumps(secret))
        yield written("two secrets, the second one foreign", json.dumps(secret), json.dumps(other))
        yield written("two secrets, the first one foreign", json.dumps(other), json.dumps(secret))
        yield written("half of a character in the secret", '"\\ud800"')
        yield written("letters outside ASCII for a secret", '"é"')
        yield written("a NUL behind the secret", json.dumps(f"{secret}\x00"))
        yield said("the secret of a thousand", **{member: [secret] * 1000})
        yield Case("the secret in a header", good.with_body(compact(event)).with_header(member, secret))
        yield Case("the last byte of the body is missing", good.with_body(good.body.rstrip()[:-1]))
        yield Case("the body in a list", good.with_body(b"[" + good.body + b"]"))
        yield Case("the body is empty", good.with_body(b""))
        yield Case("a body that is no UTF-8", good.with_body(b'{"a":"\xff"}'))

    return Signer(bodies=bodies, sign=sign, hostile=[changes, *more.pop("hostile", ())], **more)


def _basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()
