"""The course's reference: plain torch, one module a chapter, each function held against a second way to get its value.

Exercises are judged against these functions and demonstrations in the book call them, so they are vectorised, keep the
dtype and device of what they are given, and never change an argument. Nothing here knows of the autograder or the book.
"""
