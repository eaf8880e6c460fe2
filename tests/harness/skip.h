/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A skip has a printed reason. For cmocka tests only; tests/harness/run_ring reads the line.
 */
#pragma once

#include <cmocka.h>

/* Ends the test as skipped, for example test_skip("P-27: this kernel has no MPTCP"). */
#define test_skip(reason)                                                                          \
	do {                                                                                       \
		print_message("# skip: %s\n", reason);                                             \
		skip();                                                                            \
	} while (0)
