/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registry_config.h. Before: agent/config.c reads one. After: whoever follows it. Pure; must
 * never forget a member: its size is asserted, so that a new one is thought of here.
 */
#include "registry/registry_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MEMBER(m) offsetof(struct registry_config, m)

static const struct text {
	size_t offset;
	bool is_place; /* says where, not how */
} texts[] = {
	{MEMBER(type), true},
	{MEMBER(address), true},
	{MEMBER(path), true},
	{MEMBER(prefix), true},
	{MEMBER(namespace), false},
	{MEMBER(datacenter), true},
	{MEMBER(remote_namespace), true},
	{MEMBER(zone), false},
	{MEMBER(token_file), false},
	{MEMBER(username), false},
	{MEMBER(password_file), false},
	{MEMBER(tls.ca_file), false},
	{MEMBER(tls.cert_file), false},
	{MEMBER(tls.key_file), false},
	{MEMBER(node_address), false},
	{MEMBER(kubelet), false},
};

_Static_assert(sizeof(struct registry_config) ==
		       (1 + ARRAY_SIZE(texts)) * sizeof(char *) /* with the name */ +
			       2 * (sizeof(char **) + sizeof(size_t)) /* select, names */ +
			       2 * sizeof(uint64_t) +
			       3 * sizeof(uint64_t) /* refs; on_stale; external, pods: padded */,
	       "each member is in registry_config_done() and registry_config_is_equal()");

static char *text_of(const struct registry_config *c, const struct text *t)
{
	return *(char *const *)((const char *)c + t->offset);
}

static void free_list(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void registry_config_done(struct registry_config *c)
{
	free(c->name);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(text_of(c, &texts[i]));
	free_list(c->select, c->n_select);
	free_list(c->names, c->n_names);
	*c = (struct registry_config){};
}

struct registry_config *registry_config_take(struct registry_config *from)
{
	struct registry_config *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	*c = *from;
	c->refs = 1;
	*from = (struct registry_config){};
	return c;
}

struct registry_config *registry_config_ref(struct registry_config *c)
{
	if (c->refs)
		c->refs++;
	return c;
}

void registry_config_unref(struct registry_config *c)
{
	if (!c || !c->refs || --c->refs)
		return;
	registry_config_done(c);
	free(c);
}

/* --- what differs --------------------------------------------------------------------------- */

/* Empty, and not given, are two things: of a kubeconfig's path, say. */
static bool is_equal_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool is_equal_list(char **a, size_t n_a, char **b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

bool registry_config_is_equal(const struct registry_config *a, const struct registry_config *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!is_equal_text(text_of(a, &texts[i]), text_of(b, &texts[i])))
			return false;
	return is_equal_list(a->select, a->n_select, b->select, b->n_select) &&
	       is_equal_list(a->names, a->n_names, b->names, b->n_names) &&
	       a->interval_ms == b->interval_ms && a->stale_ms == b->stale_ms &&
	       a->external == b->external && a->pods == b->pods;
}

bool registry_config_is_same_place(const struct registry_config *a, const struct registry_config *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].is_place &&
		    !is_equal_text(text_of(a, &texts[i]), text_of(b, &texts[i])))
			return false;
	return true;
}
