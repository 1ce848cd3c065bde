# Tests of layer report: add programs to check_PROGRAMS and TESTS, data to EXTRA_DIST.
