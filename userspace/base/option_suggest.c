/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "Did you mean": the known word nearest to a mistyped one. Optimal string alignment (edits, and
 * swaps of neighbours), words of up to 63 bytes, and only when near enough to be a slip.
 */
#include <string.h>

#include "base/option.h"

#define WORD_MAX 63

static unsigned int smallest(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Both words are at most WORD_MAX long. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned int *now = rows[i % 3], *last = rows[(i + 2) % 3],
			     *older = rows[(i + 1) % 3];

		now[0] = (unsigned int)i;
		for (size_t j = 1; j <= m; j++) {
			now[j] = smallest(last[j] + 1, now[j - 1] + 1,
					  last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    older[j - 2] + 1 < now[j])
				now[j] = older[j - 2] + 1;
		}
	}
	return rows[n % 3][m];
}

/* How many slips a word of that length may hold. */
static unsigned int slack(size_t length)
{
	return length < 4 ? 1 : length < 8 ? 2 : 3;
}

static void consider(const char *word, const char *candidate, const char **best,
		     unsigned int *best_distance)
{
	unsigned int d;

	if (!candidate || strlen(candidate) > WORD_MAX)
		return;
	d = distance(word, candidate);
	if (d < *best_distance && d < strlen(candidate)) {
		*best = candidate;
		*best_distance = d;
	}
}

const char *option_suggest(const char *word, const char *const *words)
{
	const char *best = NULL;
	unsigned int d = slack(strlen(word)) + 1;

	if (strlen(word) > WORD_MAX)
		return NULL;
	for (size_t i = 0; words[i]; i++)
		consider(word, words[i], &best, &d);
	return best;
}

const char *option_suggest_command(const struct option_program *program, const char *word)
{
	const char *best = NULL;
	unsigned int d = slack(strlen(word)) + 1;

	if (strlen(word) > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < program->n_commands; i++)
		consider(word, program->commands[i].name, &best, &d);
	return best;
}
