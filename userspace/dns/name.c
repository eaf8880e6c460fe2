/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See name.h. Before: answer.c took the question apart. After: it writes the records. Works on a
 * copy of the text, in which the dots become ends.
 */
#include "dns/name.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"

#define LABELS 40 /* of a name that can be ours: ip6.arpa has 34 */

/* --- settings ----------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
	size_t n = strlen(text);

	if (!n || n >= DNS_NAME - 70 || text[0] == '.' || text[n - 1] == '.' || strstr(text, ".."))
		return false;
	for (; *text; text++)
		if (!islower((unsigned char)*text) && !isdigit((unsigned char)*text) &&
		    !strchr("-_.", *text))
			return false;
	return true;
}

int dns_names_set_zone(struct dns_names *names, const char *zone)
{
	if (!is_name(zone))
		return -EINVAL;
	memcpy(names->zone, zone, strlen(zone) + 1);
	return 0;
}

int dns_names_add_alias(struct dns_names *names, const char *pattern)
{
	if (strncmp(pattern, "*.", 2) != 0 || !is_name(pattern + 2))
		return -EINVAL;
	if (names->n_aliases == DNS_ALIASES)
		return -E2BIG;
	memcpy(names->aliases[names->n_aliases++], pattern + 2, strlen(pattern + 2) + 1);
	return 0;
}

/* --- from the wire ------------------------------------------------------------------------ */

static char plain(uint8_t byte)
{
	if (isalnum(byte) || byte == '-' || byte == '_')
		return (char)tolower(byte);
	return '?';
}

int dns_name_text(const uint8_t *wire, size_t n, char ret[static DNS_NAME])
{
	size_t used = 0, at = 0;

	while (at < n && wire[at]) {
		size_t length = wire[at++];

		if (length > 63 || at + length >= n || used + length + 2 > DNS_NAME)
			return -EINVAL;
		if (used)
			ret[used++] = '.';
		while (length--)
			ret[used++] = plain(wire[at++]);
	}
	if (at >= n)
		return -EINVAL;
	ret[used] = '\0';
	return 0;
}

/* --- labels ------------------------------------------------------------------------------- */

struct labels {
	char text[DNS_NAME];
	const char *label[LABELS]; /* the last one first */
	size_t n;
};

/* -E2BIG: too many to be ours. */
static int split(const char *text, size_t n, struct labels *ret)
{
	ret->n = 0;
	memcpy(ret->text, text, n);
	ret->text[n] = '\0';
	while (n) {
		char *dot = memrchr(ret->text, '.', n);

		if (ret->n == LABELS)
			return -E2BIG;
		ret->label[ret->n++] = dot ? dot + 1 : ret->text;
		n = dot ? (size_t)(dot - ret->text) : 0;
		if (dot)
			*dot = '\0';
	}
	return 0;
}

/* How much of the text is before ".suffix"; 0 with *ret_whole: it is the suffix. -1: another name.
 */
static long before(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	if (n < m || strcmp(text + n - m, suffix) != 0)
		return -1;
	if (n == m)
		return 0;
	return text[n - m - 1] == '.' && n - m > 1 ? (long)(n - m - 1) : -1;
}

/* --- services ----------------------------------------------------------------------------- */

static int proto_of(const char *label)
{
	if (!strcmp(label, "_tcp"))
		return SN_PROTO_TCP;
	return !strcmp(label, "_udp") ? SN_PROTO_UDP : -1;
}

static void read_port(const struct service *s, const char *name, int proto, struct dns_meaning *ret)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct service_port *p = &s->ports[i];

		if (p->proto != proto)
			continue;
		if (!name || !strcmp(p->name, name)) {
			*ret = (struct dns_meaning){name ? DNS_PORT : DNS_EMPTY, s, i};
			return;
		}
	}
}

/* The labels below a service: none, "_tcp", or "_http._tcp". */
static void read_below(const struct service *s, const char *const *label, size_t n,
		       struct dns_meaning *ret)
{
	int proto = n ? proto_of(label[0]) : 0;

	if (!n)
		*ret = (struct dns_meaning){DNS_SERVICE, s, 0};
	else if (proto > 0 && n == 1)
		read_port(s, NULL, proto, ret);
	else if (proto > 0 && n == 2 && label[1][0] == '_')
		read_port(s, label[1] + 1, proto, ret);
}

static void read_short(const struct dns_table *t, const char *const *label, size_t n,
		       struct dns_meaning *ret)
{
	bool ambiguous;
	const struct service *s = dns_table_find_short(t, label[0], &ambiguous);

	if (s)
		read_below(s, label + 1, n - 1, ret);
}

/* `label` from the zone down: NAMESPACE, NAME, ... or NAME, ... */
static void read_service(const struct dns_table *t, const struct labels *l, struct dns_meaning *ret)
{
	const struct service *s = l->n > 1 ? dns_table_find(t, l->label[0], l->label[1]) : NULL;

	if (s)
		read_below(s, l->label + 2, l->n - 2, ret);
	else
		read_short(t, l->label, l->n, ret);
	if (ret->kind == DNS_NOTHING && l->n == 1 && dns_table_has_namespace(t, l->label[0]))
		ret->kind = DNS_EMPTY;
}

/* --- addresses ---------------------------------------------------------------------------- */

static int reverse4(const struct labels *l, struct sn_addr *ret)
{
	char text[DNS_NAME];

	if (l->n != 4)
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%s.%s.%s.%s", l->label[0], l->label[1], l->label[2],
		       l->label[3]);
	return address_parse(text, ret);
}

static int reverse6(const struct labels *l, struct sn_addr *ret)
{
	char text[40];
	size_t n = 0;

	for (size_t i = 0; i < l->n && i < 32; i++) {
		if (strlen(l->label[i]) != 1 || !isxdigit((unsigned char)l->label[i][0]))
			return -EINVAL;
		text[n++] = l->label[i][0];
		if (i % 4 == 3 && i != 31)
			text[n++] = ':';
	}
	text[n] = '\0';
	return l->n == 32 ? address_parse(text, ret) : -EINVAL;
}

/* Addresses that are no service's are not ours: others may know them. */
static bool read_reverse(const struct dns_table *t, const char *text, struct dns_meaning *ret)
{
	long four = before(text, "in-addr.arpa"), six = before(text, "ip6.arpa");
	struct labels l;
	struct sn_addr addr;

	if ((four < 1 && six < 1) || split(text, (size_t)(four > 0 ? four : six), &l) < 0 ||
	    (four > 0 ? reverse4(&l, &addr) : reverse6(&l, &addr)) < 0)
		return false;
	ret->service = dns_table_find_address(t, &addr);
	ret->kind = ret->service ? DNS_POINTER : DNS_FOREIGN;
	return ret->service != NULL;
}

/* --- names -------------------------------------------------------------------------------- */

static bool read_alias(const struct dns_names *names, const struct dns_table *t, const char *text,
		       struct dns_meaning *ret)
{
	struct labels l;

	for (size_t i = 0; i < names->n_aliases; i++) {
		long n = before(text, names->aliases[i]);

		if (n < 0)
			continue;
		ret->kind = n ? DNS_NOTHING : DNS_EMPTY;
		if (n && split(text, (size_t)n, &l) >= 0)
			read_short(t, l.label, l.n, ret);
		return true;
	}
	return false;
}

void dns_name_read(const struct dns_names *names, const struct dns_table *t, const char *text,
		   struct dns_meaning *ret)
{
	long n = before(text, names->zone);
	struct labels l;

	*ret = (struct dns_meaning){DNS_FOREIGN};
	if (n < 0) {
		if (!read_alias(names, t, text, ret))
			(void)read_reverse(t, text, ret);
		return;
	}
	ret->kind = n ? DNS_NOTHING : DNS_APEX;
	if (n && split(text, (size_t)n, &l) >= 0)
		read_service(t, &l, ret);
}
