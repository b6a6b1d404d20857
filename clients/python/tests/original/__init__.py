"""The test suites of the original distributions of 2012 and 2013, run against this package.

They are not in this repository. Each is downloaded as it was published, checked by its sha256, converted to Python 3 by
the edits of its table (`suites`), and run by pytest in a process of its own (`test_suites`).
"""
