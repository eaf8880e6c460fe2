/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See world.h: what the programs would find in the maps, followed as bpf/stage/resolve.h and pick.h
 * follow it. Must never trust an index.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "world.h"

/* Share of one backend in a set, in units of 2^-32 of a slot. */
struct share {
	uint32_t backend;
	uint64_t units;
};

static void add_share(struct share *shares, uint32_t *n, uint32_t backend, uint64_t units)
{
	uint32_t i;

	for (i = 0; i < *n; i++)
		if (shares[i].backend == backend)
			break;
	*n += i == *n;
	shares[i].backend = backend;
	shares[i].units += units;
}

static bool is_whole_backend(uint32_t index, uint32_t service)
{
	const struct sn_backend *b = fake_backend(index);

	return index && index < fake.size.backends && b->service == service &&
	       b->state != SN_BACKEND_GONE && address_is_target(&b->addr);
}

/* One level's shares; -1: a program would find it torn. */
static int read_shares(uint32_t service, uint32_t first, uint32_t count, struct share *shares)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct sn_slot *slot = fake_slot(first + i);

		if (slot->service != service || !is_whole_backend(slot->backend, service) ||
		    !is_whole_backend(slot->alias, service))
			return -1;
		add_share(shares, &n, slot->backend, (uint64_t)slot->cut + 1);
		if (slot->cut != UINT32_MAX)
			add_share(shares, &n, slot->alias, UINT32_MAX - slot->cut);
	}
	return (int)n;
}

static int compare_units(const struct share *a, const struct share *b)
{
	return a->units < b->units ? -1 : a->units > b->units;
}

static int compare_shares(const void *a, const void *b)
{
	const struct sn_backend *x = fake_backend(((const struct share *)a)->backend),
				*y = fake_backend(((const struct share *)b)->backend);
	int r = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	r = r ? r : ntohs(x->port_be) - ntohs(y->port_be);
	return r ? r : compare_units(a, b);
}

double world_percent(double part, double whole)
{
	return part * 100 / whole + 1e-6;
}

/* One level; how many different members it has, -1: torn. */
static int append_level(struct text_buffer *b, uint32_t service, uint32_t first, uint32_t count)
{
	_cleanup_free_ struct share *shares = calloc(2 * count + 1, sizeof(*shares));
	char text[ADDRESS_TEXT];
	int n;

	assert_non_null(shares);
	n = read_shares(service, first, count, shares);
	if (n < 0)
		text_append(b, " TORN member");
	if (!n)
		text_append(b, " nobody");
	qsort(shares, n < 0 ? 0 : (size_t)n, sizeof(*shares), compare_shares);
	for (int i = 0; i < n; i++) {
		const struct sn_backend *backend = fake_backend(shares[i].backend);

		(void)address_format_port(&backend->addr, ntohs(backend->port_be), text);
		text_append_format(b, " %s %.2f%%", text,
				   world_percent((double)shares[i].units / 4294967296.0, count));
	}
	return n;
}

/* Levels apart by "|", up to the last one that has members. */
static void append_levels(struct text_buffer *b, uint32_t service, uint32_t set)
{
	const struct sn_set *header = (const struct sn_set *)fake_slot(set);
	uint32_t first = set + SN_SET_HEADER, last = SN_LEVELS - 1;
	int members = 0;

	while (last && !header->count[last])
		last--;
	for (uint32_t level = 0; level <= last; level++) {
		if (level)
			text_append(b, " |");
		members += append_level(b, service, first, header->count[level]);
		first += header->count[level];
	}
	if (members != (int)header->total)
		text_append(b, " TORN total");
}

static void append_set(struct text_buffer *b, uint32_t service, uint32_t set)
{
	const struct sn_set *header = (const struct sn_set *)fake_slot(set);
	uint64_t n = SN_SET_HEADER;

	if (!set || set + SN_SET_HEADER > fake.size.slots || header->service != service) {
		text_append(b, " TORN set");
		return;
	}
	for (int i = 0; i < SN_LEVELS; i++)
		n += header->count[i];
	if (n > fake.size.slots - set)
		text_append(b, " TORN set");
	else
		append_levels(b, service, set);
}

static void append_frontend(struct text_buffer *b, const struct fake_frontend *f)
{
	const struct sn_service *s = fake_service(f->value);
	char text[ADDRESS_TEXT];

	text_append_format(b, "%s/%s ->",
			   address_format_port(&f->key.addr, ntohs(f->key.port_be), text),
			   f->key.proto == SN_PROTO_UDP ? "UDP" : "TCP");
	if (!f->value || f->value >= fake.size.services ||
	    memcmp(&s->frontend, &f->key, sizeof(f->key)) != 0)
		text_append(b, " TORN service");
	else if (!s->policy || s->policy >= 16)
		text_append(b, " TORN policy");
	else
		append_set(b, f->value, s->set);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *world_text(void)
{
	char **lines = calloc(fake.n_frontends + 1, sizeof(*lines));
	struct text_buffer all = {};

	assert_non_null(lines);
	for (uint32_t i = 0; i < fake.n_frontends; i++) {
		struct text_buffer b = {};

		append_frontend(&b, &fake.frontends[i]);
		lines[i] = text_take(&b);
	}
	qsort(lines, fake.n_frontends, sizeof(*lines), compare_lines);
	for (uint32_t i = 0; i < fake.n_frontends; i++) {
		text_append_format(&all, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
	return text_take(&all);
}

/* --- one frontend ------------------------------------------------------------------------- */

struct sn_frontend world_key(const char *frontend)
{
	struct sn_frontend key = {.proto = SN_PROTO_TCP};
	char text[64];
	char *slash;
	uint16_t port;

	(void)snprintf(text, sizeof(text), "%s", frontend);
	slash = strchr(text, '/');
	if (slash) {
		key.proto = strcmp(slash, "/UDP") ? SN_PROTO_TCP : SN_PROTO_UDP;
		*slash = '\0';
	}
	if (address_parse_port(text, &key.addr, &port) < 0)
		fail_msg("%s is no frontend", frontend);
	key.port_be = htons(port);
	return key;
}

char *world_line(const char *frontend)
{
	struct sn_frontend key = world_key(frontend);
	struct text_buffer b = {};

	for (uint32_t i = 0; i < fake.n_frontends; i++)
		if (!memcmp(&fake.frontends[i].key, &key, sizeof(key)))
			append_frontend(&b, &fake.frontends[i]);
	return text_take(&b);
}

uint32_t world_backend(const char *frontend, const char *backend)
{
	struct sn_frontend key = world_key(frontend), its = world_key(backend);
	uint32_t service = fake_find(&key), found = 0;

	for (uint32_t i = 1; service && i < fake.size.backends; i++) {
		const struct sn_backend *b = fake_backend(i);

		if (b->state == SN_BACKEND_GONE || b->service != service ||
		    !address_is_equal(&b->addr, &its.addr) || b->port_be != its.port_be)
			continue;
		if (found)
			fail_msg("%s has %s twice: %u and %u", frontend, backend, found, i);
		found = i;
	}
	return found;
}
