/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See pod.h. Before: registry/kubernetes_pod.c read one. After: registrations are compared with it.
 * Must never say "no" where it does not know.
 */
#include "model/pod.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t pod_bytes(const struct pod *p)
{
	size_t bytes = sizeof(*p) + label_bytes(p->labels, p->n_labels) +
		       p->n_containers * sizeof(*p->containers);

	for (size_t i = 0; i < p->n_containers; i++)
		bytes += block_text_bytes(p->containers[i].name);
	return bytes + block_text_bytes(p->namespace) + block_text_bytes(p->name);
}

static void pod_fill(struct pod *p, struct block *b)
{
	p->labels = block_take(b, p->labels, p->n_labels * sizeof(*p->labels));
	p->containers = block_take(b, p->containers, p->n_containers * sizeof(*p->containers));
	label_take_text(b, p->labels, p->n_labels);
	for (size_t i = 0; i < p->n_containers; i++)
		p->containers[i].name = block_take_text(b, p->containers[i].name);
	p->namespace = block_take_text(b, p->namespace);
	p->name = block_take_text(b, p->name);
}

int pod_new(const struct pod *draft, struct pod **ret)
{
	size_t bytes = pod_bytes(draft);
	struct pod *p = malloc(bytes);
	struct block b = {(char *)p + sizeof(*p)};

	if (!p)
		return -ENOMEM;
	*p = *draft;
	pod_fill(p, &b);
	assert(b.next == (char *)p + bytes);
	*ret = p;
	return 0;
}

struct pod *pod_free(struct pod *p)
{
	free(p);
	return NULL;
}

struct pod **pod_free_list(struct pod **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pod_free(list[i]);
	free(list);
	return NULL;
}

const struct pod *pod_find(struct pod *const *list, size_t n, const char *uid)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(list[middle]->uid, uid);

		if (!order)
			return list[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int pod_has_labels(const struct pod *p, const struct label *wanted, size_t n)
{
	int all = 1;

	for (size_t i = 0; i < n; i++) {
		const char *value = label_find(p->labels, p->n_labels, wanted[i].key);

		if (!value && p->is_partial)
			all = -EAGAIN;
		else if (!value || strcmp(value, wanted[i].value) != 0)
			return 0;
	}
	return all;
}

const char *pod_find_container(const struct pod *p, const char *id)
{
	for (size_t i = 0; i < p->n_containers; i++)
		if (!strcmp(p->containers[i].id, id))
			return p->containers[i].name;
	return NULL;
}
