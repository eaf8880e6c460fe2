/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See version.h. Before: the Makefile writes revision.h. Must not hold anything else.
 */
#include "base/version.h"

#include "revision.h"

const char *version_text(void)
{
	return SINEW_VERSION;
}

const char *version_revision(void)
{
	return SINEW_REVISION;
}
