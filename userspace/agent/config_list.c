/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See config_list.h. Pure.
 */
#include "agent/config_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t *list_count(char ***at)
{
	return (size_t *)(at + 1);
}

bool config_list_is_equal(char *const *const *a, char *const *const *b)
{
	size_t n = *(const size_t *)(a + 1);

	if (n != *(const size_t *)(b + 1))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp((*a)[i], (*b)[i]) != 0)
			return false;
	return true;
}

void config_list_done(char ***at)
{
	for (size_t i = 0; i < *list_count(at); i++)
		free((*at)[i]);
	free(*at);
	*at = NULL;
	*list_count(at) = 0;
}

int config_list_add(char ***at, const char *text, size_t length)
{
	size_t *n = list_count(at);
	char **grown, *copy;

	if (*n == CONFIG_LIST_MAX)
		return -E2BIG;
	grown = reallocarray(*at, *n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*at = grown;
	copy = strndup(text, length);
	if (!copy)
		return -ENOMEM;
	grown[(*n)++] = copy;
	return 0;
}

int config_list_split(char ***at, const char *text)
{
	int r = 0;

	config_list_done(at);
	while (r >= 0 && *text) {
		size_t length = strcspn(text, ",");

		r = config_list_add(at, text, length);
		text += length + (text[length] == ',');
	}
	return r;
}
