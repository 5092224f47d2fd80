"""What `sansio_step.testing` finds in other packages: a script for each finding, which fails once it is mended there.

`nox -s peers` runs them on the versions in requirements.txt; docs/fuzzing.md says what they show.
"""
