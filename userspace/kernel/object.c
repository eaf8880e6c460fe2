/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See object.h. Between probe.c and attach.c. Must never reshape or empty a pinned map: traffic
 * lives in it.
 */
#include "kernel/object.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sinew/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "kernel/probe.h"
#include "sinew.skel.h"

struct sinew_bpf *object_free(struct sinew_bpf *skel)
{
	sinew_bpf__destroy(skel);
	return NULL;
}

static void free_skel(struct sinew_bpf **skel)
{
	if (*skel)
		object_free(*skel);
}

/* These live and die with the loaded programs: constants, scratch space, and what sockets hold. */
static bool is_private(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);

	return bpf_map__is_internal(map) || !strcmp(name, "sn_scratch") ||
	       !strcmp(name, "sn_rooms");
}

/* A pinned map keeps its size whatever the settings say now: replacing it would forget what
 * sockets rely on. */
static int fit_map(struct bpf_map *map, const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return -errno;
	if (info.value_size != bpf_map__value_size(map) ||
	    info.key_size != bpf_map__key_size(map) || info.type != bpf_map__type(map) ||
	    info.map_flags != bpf_map__map_flags(map)) {
		log_err("%s has another shape (type %u, key %u, value %u bytes, flags %#x; wanted %u, %u, %u, %#x): "
			"it was made by another version; run \"sinewd --uninstall\" and start again (open "
			"connections stay, new ones pass untranslated meanwhile)",
			path, info.type, info.key_size, info.value_size, info.map_flags,
			bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map),
			bpf_map__map_flags(map));
		return -EPROTO;
	}
	if (info.max_entries != bpf_map__max_entries(map))
		(void)bpf_map__set_max_entries(map, info.max_entries);
	return 1;
}

static int pin_map(struct bpf_map *map, const char *pin_dir)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (is_private(map))
		return 0;
	if (asprintf(&path, "%s/maps/%s", pin_dir, bpf_map__name(map)) < 0)
		return -ENOMEM;
	r = fit_map(map, path);
	if (r < 0)
		return r;
	if (bpf_map__set_pin_path(map, path) < 0)
		return -errno;
	return r;
}

/* A jiffy: the unit of the kernel's timers. */
static uint64_t tick_ns(void)
{
	struct timespec t;

	return clock_getres(CLOCK_MONOTONIC_COARSE, &t) < 0 || !t.tv_nsec ? 4000000
									  : (uint64_t)t.tv_nsec;
}

static void set_knobs(struct sinew_bpf *skel, const struct kernel_config *config)
{
	uint32_t bits4 = config->pool4.bits - 96;
	uint32_t mask4 = bits4 ? ~0u << (32 - bits4) : 0;
	uint32_t bits6 = config->pool6.bits > 64 ? 64 : config->pool6.bits;

	skel->rodata->sn_flow_mask = bpf_map__max_entries(skel->maps.sn_flows) - 1;
	skel->rodata->sn_node =
		(uint32_t)text_hash(config->node ?: "", strlen(config->node ?: ""), 0);
	skel->rodata->sn_bypass_mark = config->bypass_mark;
	skel->rodata->sn_levels = config->levels;
	skel->rodata->sn_kernel_too = config->kernel_too;
	skel->rodata->sn_failover = config->failover;
	skel->rodata->sn_timeouts = config->timeouts;
	skel->rodata->sn_tick_ns = tick_ns();
	skel->rodata->sn_pool4 = ntohl(config->pool4.addr.word_be[3]) & mask4;
	skel->rodata->sn_pool4_mask = mask4;
	skel->rodata->sn_pool6_mask = bits6 ? ~0ULL << (64 - bits6) : 0;
	skel->rodata->sn_pool6 = ((uint64_t)ntohl(config->pool6.addr.word_be[0]) << 32 |
				  ntohl(config->pool6.addr.word_be[1])) &
				 skel->rodata->sn_pool6_mask;
}

int object_load(const struct kernel_config *config, const char *pin_dir, struct sinew_bpf **ret,
		bool *ret_took_over)
{
	_cleanup_(free_skel) struct sinew_bpf *skel = sinew_bpf__open();
	struct bpf_map *map;
	bool took_over = false;
	int r;

	if (!skel)
		return -errno;
	(void)bpf_map__set_max_entries(skel->maps.sn_flows, config->flows);
	bpf_object__for_each_map(map, skel->obj)
	{
		r = pin_map(map, pin_dir);
		if (r < 0)
			return r;
		if (r > 0)
			took_over = true;
	}
	set_knobs(skel, config);
	(void)bpf_program__set_autoload(skel->progs.sn_tc_ingress, config->failover);
	(void)bpf_program__set_autoload(skel->progs.sn_tc_egress, config->failover);
	if (!probe_kfunc("bpf_sock_destroy")) {
		(void)bpf_program__set_autoload(skel->progs.sn_evict, false);
		(void)bpf_program__set_autoload(skel->progs.sn_evict_tcp, false);
	}
	r = sinew_bpf__load(skel);
	if (r < 0)
		return r;
	*ret_took_over = took_over;
	*ret = TAKE_PTR(skel);
	return 0;
}
