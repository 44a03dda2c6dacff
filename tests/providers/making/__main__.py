"""`python -m tests.providers.making [NAME ...]` writes tests/providers/vectors; of all providers where none is named."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.providers.making import signers
from tests.providers.making.vectors import NotWholeError, made, written

FOLDER = Path(__file__).parents[1] / "vectors"


def main(names: Sequence[str]) -> int:
    """Write the vectors of ``names``; return 1 where one of them cannot be made."""
    modules = sorted(found.name for found in pkgutil.iter_modules(signers.__path__))
    wanted = [name.replace("-", "_").replace(".", "_") for name in names] or modules
    if unknown := sorted(set(wanted) - set(modules)):
        print(f"no signer of {', '.join(unknown)}; there are {', '.join(modules)}", file=sys.stderr)
        return 1
    failed = False
    for name in wanted:
        failed |= not _write(name)
    return int(failed)


def _write(module_name: str) -> bool:
    module = import_module(f"tests.providers.making.signers.{module_name}")
    name = getattr(module, "NAME", module_name.replace("_", "-"))
    try:
        vectors = made(name, module.SIGNER)
    except NotWholeError as error:
        print(error, file=sys.stderr)
        return False
    (FOLDER / f"{name}.json").write_text(written(vectors), encoding="utf-8")
    valid = sum(vector["valid"] for vector in vectors)
    print(f"{name}: {valid} valid, {len(vectors) - valid} hostile")
    for vector in vectors:
        sdk = vector.get("rejected_by") if vector["valid"] else vector.get("accepted_by")
        if sdk:  # neither is a mistake here: the law is stricter than some SDKs, and wider where a provider repeats
            print(f"  {sdk} {'refuses' if vector['valid'] else 'accepts'} {vector['id']}: {vector['description']}")
    return True


sys.exit(main(sys.argv[1:]))
