"""Exercises that grade themselves: one module of check functions a chapter, under the chapter's system id.

A check takes the reader's answer and returns a ``CheckResult``: passed, or not yet with the next useful hint. It never
raises for an answer. The notebook calls it as the last line of the exercise's cell::

    from lib.exercises import cud as check
    check.by_hand(point, target)

The solutions live with the tests, for teachers: ``tests/exercises/solutions/``.
"""
