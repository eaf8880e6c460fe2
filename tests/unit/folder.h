/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A temporary folder of a test's own, flat or one level deep, and what the daemon logs meanwhile.
 */
#pragma once

#include <stdbool.h>

/* Made below TMPDIR; its path, in a static buffer that the next call overwrites. */
const char *folder_make(void);
void folder_remove(const char *path);
/* A path within; in one of a few static buffers. */
const char *folder_path(const char *folder, const char *name);
void folder_write(const char *folder, const char *name, const char *text);
/* The file's text, for free; NULL: there is none. */
char *folder_read(const char *folder, const char *name);
bool folder_has(const char *folder, const char *name);

/* Collects standard error until folder_heard, which gives it back. */
void folder_listen(void);
const char *folder_heard(void);
