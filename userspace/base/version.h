/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which program this is. The only file that sees the generated revision, so that a commit
 * recompiles one file.
 */
#pragma once

/* "0.1.0" */
const char *version_text(void);
/* Abbreviated commit that it was built from, or "unknown". */
const char *version_revision(void);
