"""The parsers under coverage-guided fuzzing. By hand: `python -m tests.fuzz TARGET --seconds 60`.

| module          | holds                                                                     |
|-----------------|---------------------------------------------------------------------------|
| target.py       | what a target is: a check of one input, and inputs to begin with          |
| reference.py    | a second reader of JSON, in Python, that the first one is compared with   |
| of_json.py      | targets for tidegate.jsontext                                             |
| of_wire.py      | targets for tidegate.wire                                                 |
| of_adapter.py   | targets for the provider adapters, signed and unsigned                    |
| of_declared.py  | targets for the providers declared in words, all of them at once          |
| of_capture.py   | a target for `tidegate verify`                                            |
| of_unpacking.py | a target for ingest.unpacking                                             |
| targets.py      | all of them by name                                                       |
| child.py        | the process that the engine runs in, which ends it at the first fault     |
| engine.py       | starts such a process, and reads what it says                             |
"""
