/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See tc.h. After object.c has loaded, beside attach.c; the daemon says which interfaces. Must
 * never take away what it cannot prove to be ours, nor leave a moment without a program when it
 * swaps.
 */
#include "kernel/tc.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sinew.skel.h"

#define LISTED_MAX 4096 /* interfaces with pins of ours that are looked after */
#define FILTERS_MAX 64
#define PRIORITY 21326 /* of our filters; the next free one if somebody has it */
#define HANDLE 1

enum tc_way { TC_IN, TC_OUT, _TC_WAYS };

static const struct {
	const char *program, *link, *filter, *next;
	enum bpf_attach_type type; /* BPF_TCX_INGRESS, BPF_TCX_EGRESS: newer than Debian 12 */
	enum bpf_tc_attach_point point;
} ways[_TC_WAYS] = {
	{"sn_tc_ingress", "in", "cin", "cin_next", (enum bpf_attach_type)46, BPF_TC_INGRESS},
	{"sn_tc_egress", "out", "cout", "cout_next", (enum bpf_attach_type)47, BPF_TC_EGRESS},
};

static const char *const pins[] = {"in", "out", "cin", "cin_next", "cout", "cout_next", "qdisc"};

struct place {
	const char *links;
	uint32_t ifindex;
};

static char *pin_path(const struct place *at, const char *what)
{
	char *path;

	return asprintf(&path, "%s/tc_%u_%s", at->links, at->ifindex, what) < 0 ? NULL : path;
}

char *tc_folder(const struct kernel *k)
{
	char *path;

	return asprintf(&path, "%s/links", k->pin_dir) < 0 ? NULL : path;
}

static void unpin(const struct place *at, const char *what)
{
	_cleanup_free_ char *path = pin_path(at, what);

	if (path)
		(void)unlink(path);
}

static int open_pin(const struct place *at, const char *what)
{
	_cleanup_free_ char *path = pin_path(at, what);
	int fd = path ? bpf_obj_get(path) : -1;

	return !path ? -ENOMEM : fd < 0 ? -errno : fd;
}

static int pin(const struct place *at, const char *what, int fd)
{
	_cleanup_free_ char *path = pin_path(at, what);

	return !path ? -ENOMEM : bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

static int program_fd(const struct kernel *k, enum tc_way way)
{
	return bpf_program__fd(bpf_object__find_program_by_name(k->skel->obj, ways[way].program));
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &length) < 0 ? 0 : info.id;
}

static uint32_t pinned_program(const struct place *at, const char *what)
{
	_cleanup_close_ int fd = open_pin(at, what);

	return program_id(fd);
}

/* --- tcx ---------------------------------------------------------------------------------------
 */

/* A link whose interface has gone has index 0. Interface indexes belong to a network namespace, and
 * interfaces may move: so it must also run here. */
static bool is_link_at(int fd, const struct place *at, enum tc_way way)
{
	__u32 ids[FILTERS_MAX], n = ARRAY_SIZE(ids), flags = 0, length;
	struct bpf_link_info info = {};

	length = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0 ||
	    info.xdp.ifindex != at->ifindex) /* where the tcx link's is, too */
		return false;
	if (bpf_prog_query((int)at->ifindex, ways[way].type, 0, &flags, ids, &n) < 0)
		return false;
	for (__u32 i = 0; i < n; i++)
		if (ids[i] == info.prog_id)
			return true;
	return false;
}

static int make_link(const struct place *at, enum tc_way way, int program)
{
	_cleanup_close_ int fd = bpf_link_create(program, (int)at->ifindex, ways[way].type, NULL);

	if (fd < 0)
		return fd;
	unpin(at, ways[way].link); /* of an interface that had this index before */
	return pin(at, ways[way].link, fd);
}

/* 1: a new one; 0: it took the place of our older one. */
static int attach_link(const struct kernel *k, const struct place *at, enum tc_way way)
{
	_cleanup_close_ int fd = open_pin(at, ways[way].link);
	int r;

	if (fd >= 0 && is_link_at(fd, at, way))
		return bpf_link_update(fd, program_fd(k, way), NULL);
	r = make_link(at, way, program_fd(k, way));
	return r < 0 ? r : 1;
}

static int attach_links(const struct kernel *k, const struct place *at)
{
	int in = attach_link(k, at, TC_IN), out;

	if (in < 0)
		return in;
	out = attach_link(k, at, TC_OUT);
	if (out < 0 && in > 0)
		unpin(at, ways[TC_IN].link);
	return out < 0 ? out : 0;
}

/* --- clsact ------------------------------------------------------------------------------------
 */

static struct bpf_tc_hook hook_of(const struct place *at, enum bpf_tc_attach_point point)
{
	return (struct bpf_tc_hook){.sz = sizeof(struct bpf_tc_hook),
				    .ifindex = (int)at->ifindex,
				    .attach_point = point};
}

/* A filter is ours if it runs a program that we have pinned for it. `next`: the one that is about
 * to take over, or was when the last daemon was killed. */
static bool find_filter(const struct place *at, enum tc_way way, struct filter *ret)
{
	uint32_t mine = pinned_program(at, ways[way].filter);
	uint32_t next = pinned_program(at, ways[way].next);
	struct filter all[FILTERS_MAX];
	int n = mine || next ? filter_list(at->ifindex, way == TC_OUT, all, ARRAY_SIZE(all)) : 0;

	for (int i = 0; i < n; i++) {
		if (!all[i].program || (all[i].program != mine && all[i].program != next))
			continue;
		*ret = all[i];
		return true;
	}
	return false;
}

static int free_priority(const struct place *at, enum tc_way way)
{
	struct filter all[FILTERS_MAX];
	int n = filter_list(at->ifindex, way == TC_OUT, all, ARRAY_SIZE(all));
	int priority = PRIORITY;

	for (int i = 0; i < n; i++)
		if (all[i].priority == priority) {
			priority++;
			i = -1;
		}
	return n < 0 ? n : n == FILTERS_MAX ? -E2BIG : priority;
}

static int make_qdisc(const struct place *at, int program)
{
	struct bpf_tc_hook hook = hook_of(at, BPF_TC_INGRESS);
	int r = bpf_tc_hook_create(&hook);

	if (r == -EEXIST)
		return 0; /* somebody's, or ours */
	return r < 0 ? r : pin(at, "qdisc", program);
}

static int put_filter(const struct place *at, enum tc_way way, int program)
{
	struct bpf_tc_hook hook = hook_of(at, ways[way].point);
	struct bpf_tc_opts opts = {.sz = sizeof(opts), .prog_fd = program, .handle = HANDLE};
	struct filter old;
	int priority;

	if (find_filter(at, way, &old)) {
		opts.handle = old.handle;
		opts.priority = old.priority;
		opts.flags = BPF_TC_F_REPLACE;
		return bpf_tc_attach(&hook, &opts);
	}
	priority = free_priority(at, way);
	opts.priority = (uint32_t)priority;
	return priority < 0 ? priority : bpf_tc_attach(&hook, &opts);
}

static int attach_filter(const struct kernel *k, const struct place *at, enum tc_way way)
{
	_cleanup_free_ char *from = pin_path(at, ways[way].next);
	_cleanup_free_ char *to = pin_path(at, ways[way].filter);
	int program = program_fd(k, way), r;

	if (!from || !to)
		return -ENOMEM;
	if (pinned_program(at, ways[way].next) != program_id(program)) {
		unpin(at, ways[way].next);
		r = pin(at, ways[way].next, program);
		if (r < 0)
			return r;
	}
	r = put_filter(at, way, program);
	if (r < 0) {
		unpin(at, ways[way].next);
		return r;
	}
	return rename(from, to) < 0 ? -errno : 0;
}

static void detach_filter(const struct place *at, enum tc_way way)
{
	struct bpf_tc_hook hook = hook_of(at, ways[way].point);
	struct bpf_tc_opts opts = {.sz = sizeof(opts)};
	struct filter f;

	if (find_filter(at, way, &f)) {
		opts.handle = f.handle;
		opts.priority = f.priority;
		(void)bpf_tc_detach(&hook, &opts);
	}
	unpin(at, ways[way].filter);
	unpin(at, ways[way].next);
}

/* Ours goes when nobody else has put anything on it. */
static void remove_qdisc(const struct place *at)
{
	struct bpf_tc_hook hook = hook_of(at, BPF_TC_INGRESS | BPF_TC_EGRESS);
	_cleanup_close_ int marker = open_pin(at, "qdisc");
	struct filter any;

	if (marker < 0)
		return;
	if (filter_list(at->ifindex, false, &any, 1) == 0 &&
	    filter_list(at->ifindex, true, &any, 1) == 0)
		(void)bpf_tc_hook_destroy(&hook);
	unpin(at, "qdisc");
}

static void detach_filters(const struct place *at)
{
	detach_filter(at, TC_IN);
	detach_filter(at, TC_OUT);
	remove_qdisc(at);
}

static int attach_filters(const struct kernel *k, const struct place *at)
{
	struct filter f;
	bool had = find_filter(at, TC_IN, &f);
	int r = make_qdisc(at, program_fd(k, TC_IN));

	if (r >= 0)
		r = attach_filter(k, at, TC_IN);
	if (r >= 0)
		r = attach_filter(k, at, TC_OUT);
	if (r < 0 && !had)
		detach_filters(at);
	return r;
}

/* --- either ------------------------------------------------------------------------------------
 */

static int attach_either(struct kernel *k, const struct place *at, enum tc_how *ret_how)
{
	int r = k->tc_how == TC_CLSACT ? -EINVAL : attach_links(k, at);

	*ret_how = TC_TCX;
	if (r != -EINVAL || k->tc_how == TC_TCX)
		return r;
	r = attach_filters(k, at);
	if (r >= 0)
		k->tc_how = TC_CLSACT; /* this kernel has no tcx */
	*ret_how = TC_CLSACT;
	return r;
}

int tc_attach(struct kernel *k, uint32_t ifindex, enum tc_how *ret_how)
{
	_cleanup_free_ char *links = tc_folder(k);
	const struct place at = {links, ifindex};
	enum tc_how how;
	int r;

	if (!links)
		return -ENOMEM;
	if (program_fd(k, TC_IN) < 0)
		return -ENOENT; /* not loaded */
	r = attach_either(k, &at, &how);
	if (r < 0)
		return r;
	if (how == TC_TCX) { /* what was there by the other way goes when this one is in place */
		detach_filters(&at);
	} else {
		unpin(&at, ways[TC_IN].link);
		unpin(&at, ways[TC_OUT].link);
	}
	*ret_how = how;
	return 0;
}

int tc_detach(const char *links, uint32_t ifindex)
{
	const struct place at = {links, ifindex};

	unpin(&at, ways[TC_IN].link);
	unpin(&at, ways[TC_OUT].link);
	detach_filters(&at);
	return 0;
}

static bool is_way_live(const struct place *at, enum tc_way way)
{
	_cleanup_close_ int fd = open_pin(at, ways[way].link);
	struct filter f;

	return fd >= 0 ? is_link_at(fd, at, way) : find_filter(at, way, &f);
}

bool tc_is_live(const struct kernel *k, uint32_t ifindex)
{
	_cleanup_free_ char *links = tc_folder(k);
	const struct place at = {links, ifindex};

	return links && is_way_live(&at, TC_IN) && is_way_live(&at, TC_OUT);
}

/* "tc_12_in" -> 12; 0: none of ours. */
static uint32_t pin_ifindex(const char *name)
{
	unsigned long ifindex;
	char *end;

	if (strncmp(name, "tc_", 3) != 0 || name[3] < '1' || name[3] > '9')
		return 0;
	ifindex = strtoul(name + 3, &end, 10);
	if (*end != '_' || ifindex > INT32_MAX)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(pins); i++)
		if (!strcmp(end + 1, pins[i]))
			return (uint32_t)ifindex;
	return 0;
}

static int compare_index(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

size_t tc_list(const char *links, uint32_t *ret, size_t max)
{
	DIR *dir = opendir(links);
	struct dirent *entry;
	size_t n = 0, kept = 0;
	uint32_t ifindex;

	while (dir && n < max && (entry = readdir(dir))) {
		ifindex = pin_ifindex(entry->d_name);
		if (ifindex)
			ret[n++] = ifindex;
	}
	if (dir)
		(void)closedir(dir);
	qsort(ret, n, sizeof(*ret), compare_index);
	for (size_t i = 0; i < n; i++)
		if (!kept || ret[kept - 1] != ret[i])
			ret[kept++] = ret[i];
	return kept;
}

int tc_swap(struct kernel *k)
{
	_cleanup_free_ uint32_t *all = calloc(LISTED_MAX * ARRAY_SIZE(pins), sizeof(*all));
	_cleanup_free_ char *links = tc_folder(k);
	enum tc_how how;
	int r = 0, one;
	size_t n;

	if (!all || !links)
		return -ENOMEM;
	if (program_fd(k, TC_IN) < 0)
		return 0; /* not wanted any more: those in place serve what they have moved */
	n = tc_list(links, all, LISTED_MAX * ARRAY_SIZE(pins));
	for (size_t i = 0; i < n; i++) {
		one = tc_attach(k, all[i], &how);
		r = one < 0 && one != -ENODEV ? one : r;
	}
	return r;
}

int tc_remove_all(const char *links)
{
	_cleanup_free_ uint32_t *all = calloc(LISTED_MAX * ARRAY_SIZE(pins), sizeof(*all));
	size_t n;

	if (!all)
		return -ENOMEM;
	n = tc_list(links, all, LISTED_MAX * ARRAY_SIZE(pins));
	for (size_t i = 0; i < n; i++)
		(void)tc_detach(links, all[i]);
	return 0;
}

/* --- others ------------------------------------------------------------------------------------
 */

struct others {
	struct tc_other *list;
	size_t n, max;
	bool before; /* ours was not met yet */
};

static void note(struct others *o, const struct tc_other *one)
{
	if (o->n < o->max)
		o->list[o->n++] = *one;
}

static void note_links(struct others *o, const struct place *at, enum tc_way way, uint32_t mine)
{
	__u32 ids[FILTERS_MAX], n = ARRAY_SIZE(ids), flags = 0;

	if (bpf_prog_query((int)at->ifindex, ways[way].type, 0, &flags, ids, &n) < 0)
		return;
	for (__u32 i = 0; i < n; i++)
		if (ids[i] == mine)
			o->before = false;
		else
			note(o, &(struct tc_other){.ifindex = at->ifindex,
						   .program = ids[i],
						   .egress = way == TC_OUT,
						   .before = o->before});
}

static void note_filters(struct others *o, const struct place *at, enum tc_way way, uint32_t mine)
{
	struct filter all[FILTERS_MAX];
	int n = filter_list(at->ifindex, way == TC_OUT, all, ARRAY_SIZE(all));

	for (int i = 0; i < n; i++) {
		struct tc_other one = {.ifindex = at->ifindex,
				       .program = all[i].program,
				       .egress = way == TC_OUT,
				       .before = o->before};

		memcpy(one.name, all[i].name, sizeof(one.name));
		if (mine && all[i].program == mine)
			o->before = false;
		else
			note(o, &one);
	}
}

size_t tc_others(const struct kernel *k, uint32_t ifindex, struct tc_other *ret, size_t max)
{
	const struct place at = {NULL, ifindex};
	struct others o = {.list = ret, .max = max};

	for (enum tc_way way = TC_IN; way < _TC_WAYS; way++) {
		uint32_t mine = program_id(program_fd(k, way));

		o.before = true;
		note_links(&o, &at, way, mine);
		note_filters(&o, &at, way, mine);
	}
	return o.n;
}
