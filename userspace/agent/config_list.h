/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list of texts in a struct of settings, where it stands as "char **items; size_t n". Private to
 * config.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_LIST_MAX 1024 /* texts of one list */

bool config_list_is_equal(char *const *const *a, char *const *const *b);
/* Empties it. */
void config_list_done(char ***at);
/* A copy of `length` bytes. -E2BIG, -ENOMEM. */
int config_list_add(char ***at, const char *text, size_t length);
/* In place of what it holds, texts with commas between, as on a command line. -E2BIG, -ENOMEM. */
int config_list_split(char ***at, const char *text);
