"""Write what is generated, and remove the pages of providers that are no more."""

from __future__ import annotations

from tests.documents import files


def main() -> None:
    made = files.made()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in files.outdated(made):
        path.unlink()
    print(f"{len(made)} files are as the declarations say")


if __name__ == "__main__":
    main()
