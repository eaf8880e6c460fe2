/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small command line with an option of each type, for the tests of base/option*.
 */
#pragma once

#include "base/option.h"

struct program_values {
	bool verbose, all;
	const char *file, *colour;
	struct option_list labels;
	unsigned int output;
	uint64_t timeout, limit;
};

extern const struct option_program program;
