/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pair of programs at a network interface: tcx links where the kernel has them (6.6), filters
 * on a clsact qdisc where not. Beside the programs of others, which are never replaced or removed.
 *
 * Everything of ours at an interface has a pin below <pin folder>/links, so it outlives us and is
 * found again; no descriptor is kept, as there may be thousands of interfaces:
 *   tc_<ifindex>_in, _out     a tcx link: without its pin it is gone
 *   tc_<ifindex>_cin, _cout   the program of our filter, by which we know it among others
 *   tc_<ifindex>_qdisc        the clsact qdisc was made by us
 */
#pragma once

#include "kernel/filter.h"
#include "kernel/kernel.h"

enum tc_how { TC_AUTO, TC_TCX, TC_CLSACT };

struct tc_other {
	uint32_t ifindex, program; /* program 0: a filter that is none */
	bool egress, before;       /* before ours */
	char name[FILTER_NAME];    /* "": the kernel does not say */
};

/* Both programs, anew or in place of our own older ones. On failure neither is left, unless an
 * older one was there. Which way it went in *ret_how. -ENODEV: the interface has gone. */
int tc_attach(struct kernel *k, uint32_t ifindex, enum tc_how *ret_how);
/* Takes away what is ours at the interface, which need not exist any more. `links`: the folder. */
int tc_detach(const char *links, uint32_t ifindex);
/* Are both in place? */
bool tc_is_live(const struct kernel *k, uint32_t ifindex);
/* Interfaces that have pins of ours; at most max. */
size_t tc_list(const char *links, uint32_t *ret, size_t max);
/* The programs were loaded anew: puts them in place of the old ones everywhere. */
int tc_swap(struct kernel *k);
int tc_remove_all(const char *links);
/* Programs of others at the interface. */
size_t tc_others(const struct kernel *k, uint32_t ifindex, struct tc_other *ret, size_t max);
/* The folder of links; caller frees. NULL: no memory. */
char *tc_folder(const struct kernel *k);
