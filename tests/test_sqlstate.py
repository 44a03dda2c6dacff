"""Every class of SQLSTATE has one meaning; guessing by exception class would bury an outage in the dead letters."""

from __future__ import annotations

import psycopg
import psycopg_pool
import pytest
from psycopg import errors

from tidegate.postgres.sqlstate import Kind, classify

T, S, P, H = Kind.TRANSIENT, Kind.SYSTEMIC, Kind.PERMANENT, Kind.HANDLER

BY_CLASS = {
    "01": H, "02": H, "03": H, "08": T, "09": H, "0A": S, "0B": H, "0F": H, "0L": H, "0P": H, "0Z": H, "10": H, "20": H,
    "21": H, "22": P, "23": P, "24": H, "25": H, "26": S, "27": H, "28": S, "2B": H, "2D": H, "2F": H, "34": H, "38": H,
    "39": H, "3B": H, "3D": S, "3F": S, "40": H, "42": S, "44": H, "53": T, "54": P, "55": H, "57": H, "58": T, "72": T,
    "F0": S, "HV": H, "P0": H, "XX": H,
}  # fmt: skip
BY_STATE = {
    "25006": T, "25P03": T, "25P04": T, "40001": T, "40003": T, "40P01": T, "55P03": T, "57014": T,
    "57P01": T, "57P02": T, "57P03": T, "57P04": T, "57P05": T,
    "XX001": S, "XX002": S,
}  # fmt: skip


def all_states() -> list[tuple[str, type[psycopg.Error]]]:
    found = {
        str(cls.sqlstate): cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, psycopg.Error) and getattr(cls, "sqlstate", None)
    }
    return sorted(found.items())


@pytest.mark.parametrize(("state", "cls"), all_states(), ids=[state for state, _ in all_states()])
def test_every_sqlstate_psycopg_knows(state: str, cls: type[psycopg.Error]) -> None:
    assert classify(cls("x")) is BY_STATE.get(state, BY_CLASS[state[:2]])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.OperationalError("connection lost"), T),
        (psycopg.InterfaceError("the connection is closed"), T),
        (psycopg_pool.PoolTimeout("full"), T),
        (ConnectionResetError(), T),
        (TimeoutError(), T),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), P),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), P),
        (ValueError("a mistake in a handler"), H),
        (KeyError("x"), H),
        (RecursionError(), H),
    ],
)
def test_errors_without_a_state(error: Exception, kind: Kind) -> None:
    assert classify(error) is kind
