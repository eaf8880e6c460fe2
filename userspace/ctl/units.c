/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See units.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "ctl/units.h"

struct step {
	double size;
	const char *name;
};

/* Three digits: "1.2k" below 10k, "12.4k" below 100k, then "124k". */
static const char *scaled(double n, const struct step *s, char buf[static UNITS_TEXT])
{
	double v = n / s->size;

	if (s->name[0] == '\0' || v >= 99.95)
		(void)snprintf(buf, UNITS_TEXT, "%.0f%s", v, s->name);
	else
		(void)snprintf(buf, UNITS_TEXT, "%.1f%s", v, s->name);
	return buf;
}

const char *units_short(double n, char buf[static UNITS_TEXT])
{
	static const struct step steps[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
	static const struct step one = {1, ""};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (n >= steps[i].size * 0.99995)
			return scaled(n, &steps[i], buf);
	if (n > 0 && n < 9.95) { /* a slow rate: "0.3" says more than "0" */
		(void)snprintf(buf, UNITS_TEXT, n == (double)(int)n ? "%.0f" : "%.1f", n);
		return buf;
	}
	return scaled(n > 0 ? n : 0, &one, buf);
}

const char *units_grouped(uint64_t n, char buf[static UNITS_TEXT])
{
	char digits[24];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n);
	size_t at = 0;

	for (size_t i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = '\0';
	return buf;
}

const char *units_seconds(double s, char buf[static UNITS_TEXT])
{
	static const struct step steps[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};

	if (!(s > 0))
		return strcpy(buf, "-");
	if (s >= 120) /* above the bound it is no time any more, and would not fit */
		return units_age((uint64_t)((s < 1e15 ? s : 1e15) * 1000), buf);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		double v = s / steps[i].size;

		if (v < 0.9995 && i + 1 < ARRAY_SIZE(steps))
			continue;
		(void)snprintf(buf, UNITS_TEXT, v < 9.95 && i < 2 ? "%.1f%s" : "%.0f%s", v,
			       steps[i].name);
		return buf;
	}
	return buf;
}

const char *units_age(uint64_t ms, char buf[static UNITS_TEXT])
{
	static const struct {
		uint64_t seconds;
		char name, next;
		uint64_t next_seconds;
		uint64_t alone_above; /* of these, the smaller unit no longer matters */
	} steps[] = {{86400, 'd', 'h', 3600, 9}, {3600, 'h', 'm', 60, 23}, {60, 'm', 's', 1, 59}};
	uint64_t s = ms / 1000;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint64_t n = s / steps[i].seconds;
		unsigned int rest = (unsigned int)(s % steps[i].seconds / steps[i].next_seconds);

		if (n == 0)
			continue;
		if (rest == 0 || n > steps[i].alone_above)
			(void)snprintf(buf, UNITS_TEXT, "%" PRIu64 "%c", n, steps[i].name);
		else
			(void)snprintf(buf, UNITS_TEXT, "%" PRIu64 "%c%u%c", n, steps[i].name, rest,
				       steps[i].next);
		return buf;
	}
	(void)snprintf(buf, UNITS_TEXT, "%" PRIu64 "s", s);
	return buf;
}

const char *units_percent(double part, double whole, char buf[static UNITS_TEXT])
{
	double p = whole > 0 ? 100 * part / whole : 0;

	if (!(whole > 0))
		return strcpy(buf, "-");
	if (!(part > 0))
		return strcpy(buf, "0%");
	if (p < 0.01)
		return strcpy(buf, "<0.01%");
	(void)snprintf(buf, UNITS_TEXT, p < 0.095 ? "%.2f%%" : p < 9.95 ? "%.1f%%" : "%.0f%%", p);
	return buf;
}

const char *units_bytes(uint64_t n, char buf[static UNITS_TEXT])
{
	static const struct step steps[] = {
		{1024.0 * 1024 * 1024, "GiB"}, {1024.0 * 1024, "MiB"}, {1024, "KiB"}};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if ((double)n >= steps[i].size)
			return scaled((double)n, &steps[i], buf);
	(void)snprintf(buf, UNITS_TEXT, "%" PRIu64 "B", n);
	return buf;
}

/* "Z", "+02:00" to seconds east of UTC. */
static int parse_offset(const char *text, long *ret)
{
	int hours, minutes, end = 0;
	char sign;

	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0) {
		*ret = 0;
		return 0;
	}
	if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || text[end] != '\0' ||
	    (sign != '+' && sign != '-'))
		return -EINVAL;
	*ret = (sign == '-' ? -1 : 1) * (hours * 3600L + minutes * 60L);
	return 0;
}

int units_parse_time(const char *text, uint64_t *ret_ms)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	unsigned int ms = 0, scale = 100;
	long offset;
	int64_t s;
	int r;

	if (!p)
		return -EINVAL;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			ms += (unsigned int)(*p - '0') * scale;
	r = parse_offset(p, &offset);
	if (r < 0)
		return r;
	s = (int64_t)timegm(&tm) - offset;
	if (s < 0)
		return -EINVAL;
	*ret_ms = (uint64_t)s * 1000 + ms;
	return 0;
}
