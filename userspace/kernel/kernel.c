/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See kernel.h: the life of one instance's kernel side, read from top to bottom.
 */
#include "kernel/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sinew/meta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kernel/attach.h"
#include "kernel/object.h"
#include "kernel/pin.h"
#include "kernel/tc.h"
#include "sinew.skel.h"

#define SHOWN_BYTES 1800

__attribute__((format(printf, 2, 0))) static int on_libbpf_print(enum libbpf_print_level level,
								 const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;
	size_t n;

	if (vasprintf(&text, format, args) < 0) {
		text = NULL;
		return 0;
	}
	n = strlen(text);
	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	/* Of a verifier's log the end tells. */
	log_debug("%s", n > SHOWN_BYTES ? text + n - SHOWN_BYTES : text);
	return 0;
}

static uint64_t boottime_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_meta(struct kernel *k)
{
	struct sn_meta *meta = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
				    bpf_map__fd(k->skel->maps.sn_meta), 0);

	if (meta == MAP_FAILED)
		return -errno;
	if (meta->magic != SN_MAGIC) {
		meta->abi = SN_ABI_VERSION;
		meta->attached_ns = boottime_ns();
		meta->magic = SN_MAGIC;
	}
	meta->daemon_pid = (uint32_t)getpid();
	(void)snprintf((char *)meta->version, sizeof(meta->version), "%s", SINEW_VERSION);
	k->meta = meta;
	return 0;
}

static int open_windows(struct kernel *k)
{
	const struct {
		struct window *window;
		struct bpf_map *map;
	} all[] = {
		{&k->services, k->skel->maps.sn_services},
		{&k->slots, k->skel->maps.sn_slots},
		{&k->backends, k->skel->maps.sn_backends},
		{&k->policies, k->skel->maps.sn_policies},
		{&k->health, k->skel->maps.sn_health},
		{&k->latency, k->skel->maps.sn_latency},
		{&k->svc_stats, k->skel->maps.sn_svc_stats},
		{&k->svc_state, k->skel->maps.sn_svc_state},
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		r = window_open(all[i].window, bpf_map__fd(all[i].map));
		if (r < 0)
			return r;
	}
	k->flow_entries = bpf_map__max_entries(k->skel->maps.sn_flows);
	return open_meta(k);
}

/* An iterator is a link, too, but nothing attached: each reading of it is one sweep. */
static int open_iterator(struct bpf_program *program, int *ret_fd)
{
	struct bpf_link *link;

	*ret_fd = -1;
	if (bpf_program__fd(program) < 0)
		return 0;
	link = bpf_program__attach_iter(program, NULL);
	if (!link)
		return -errno;
	*ret_fd = fcntl(bpf_link__fd(link), F_DUPFD_CLOEXEC, 3);
	(void)bpf_link__destroy(link);
	return *ret_fd < 0 ? -errno : 0;
}

static int open_evict(struct kernel *k)
{
	int r = open_iterator(k->skel->progs.sn_evict, &k->evict_link_fd);

	return r < 0 ? r : open_iterator(k->skel->progs.sn_evict_tcp, &k->evict_tcp_fd);
}

static int open_all(struct kernel *k, const struct kernel_config *config)
{
	int r;

	r = object_load(config, k->pin_dir, &k->skel, &k->took_over);
	if (r < 0)
		return r;
	r = open_windows(k);
	if (r < 0)
		return r;
	r = open_evict(k);
	if (r < 0)
		return r;
	r = attach_all(k);
	if (r < 0)
		return r;
	k->cgroup_ok = true;
	(void)malloc_trim(0); /* the kernel's BTF was parsed and is gone */
	return 0;
}

int kernel_open(struct kernel *k, const struct kernel_config *config, int *ret_pid)
{
	int r;

	*k = (struct kernel){.lock_fd = -1,
			     .evict_link_fd = -1,
			     .evict_tcp_fd = -1,
			     .node = config->node,
			     .zone = config->zone,
			     .tc_how = config->tc_how};
	(void)libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	(void)libbpf_set_print(on_libbpf_print);
	k->lock_fd = pin_lock(config->bpffs);
	if (k->lock_fd == -EBUSY)
		*ret_pid = pin_read_pid(config->bpffs, SN_ABI_VERSION);
	if (k->lock_fd < 0) {
		r = k->lock_fd;
		if (r != -EBUSY && r != -ENOTSUP)
			(void)snprintf(
				k->trouble, sizeof(k->trouble),
				"cannot make or lock the pin folder %s: %s; is a bpffs mounted there, and "
				"writable? mount -t bpf bpf /sys/fs/bpf, or set bpffs.dir",
				config->bpffs, strerror(-r));
		return r;
	}
	k->cgroup = strdup(config->cgroup);
	if (!k->cgroup)
		return -ENOMEM;
	r = pin_prepare(config->bpffs, SN_ABI_VERSION, &k->pin_dir, ret_pid);
	if (r < 0 && r != -EPROTO)
		(void)snprintf(k->trouble, sizeof(k->trouble),
			       "cannot make the pin folders below %s: %s; is the bpffs writable?",
			       config->bpffs, strerror(-r));
	if (r < 0)
		return r;
	return open_all(k, config);
}

int kernel_reload(struct kernel *k, const struct kernel_config *config)
{
	struct sinew_bpf *old = k->skel, *new;
	bool took_over;
	int r;

	r = object_load(config, k->pin_dir, &new, &took_over);
	if (r < 0)
		return r;
	k->skel = new;
	r = attach_all(k);
	if (r < 0) {
		k->skel = old;
		(void)attach_all(k); /* whatever was swapped goes back */
		object_free(new);
		return r;
	}
	r = tc_swap(k);
	if (r < 0)
		(void)log_warn_r(r, "some interfaces keep the programs that they had");
	/* Windows hold file descriptors of the old object's maps, which are the same maps. */
	k->services.fd = bpf_map__fd(new->maps.sn_services);
	k->slots.fd = bpf_map__fd(new->maps.sn_slots);
	k->backends.fd = bpf_map__fd(new->maps.sn_backends);
	k->policies.fd = bpf_map__fd(new->maps.sn_policies);
	k->health.fd = bpf_map__fd(new->maps.sn_health);
	k->latency.fd = bpf_map__fd(new->maps.sn_latency);
	k->svc_stats.fd = bpf_map__fd(new->maps.sn_svc_stats);
	k->svc_state.fd = bpf_map__fd(new->maps.sn_svc_state);
	object_free(old);
	(void)malloc_trim(0);
	return 0;
}

void kernel_close(struct kernel *k)
{
	for (int hook = 0; hook < _HOOK_MAX; hook++)
		if (k->links[hook])
			(void)bpf_link__destroy(k->links[hook]); /* closes it; the pin keeps it */
	if (k->events)
		ring_buffer__free(k->events);
	if (k->meta) {
		k->meta->daemon_pid = 0;
		(void)munmap(k->meta, 4096);
	}
	window_close(&k->services);
	window_close(&k->slots);
	window_close(&k->backends);
	window_close(&k->policies);
	window_close(&k->health);
	window_close(&k->latency);
	window_close(&k->svc_stats);
	window_close(&k->svc_state);
	if (k->skel)
		object_free(k->skel);
	closep(&k->evict_link_fd);
	closep(&k->evict_tcp_fd);
	closep(&k->lock_fd);
	free(k->pin_dir);
	free(k->cgroup);
	*k = (struct kernel){.lock_fd = -1, .evict_link_fd = -1, .evict_tcp_fd = -1};
}

unsigned int kernel_attached(const struct kernel *k)
{
	unsigned int n = 0;
	uint64_t id;

	if (attach_cgroup_id(k->cgroup, &id) < 0)
		return 0;
	for (int hook = 0; hook < _HOOK_MAX; hook++)
		n += attach_is_live(k->links[hook], id);
	return n;
}

/* The bpffs belongs to whoever is root: what was removed there is pinned again, or a restart would
 * not find it. How many. */
static int pin_again(struct kernel *k)
{
	struct bpf_map *map;
	char path[512];
	int n = 0;

	for (int hook = 0; hook < _HOOK_MAX; hook++) {
		(void)snprintf(path, sizeof(path), "%s/links/%s", k->pin_dir,
			       kernel_hook_name(hook));
		if (access(path, F_OK) < 0 && errno == ENOENT && k->links[hook])
			n += bpf_obj_pin(bpf_link__fd(k->links[hook]), path) == 0;
	}
	bpf_object__for_each_map(map, k->skel->obj)
	{
		const char *pin = bpf_map__pin_path(map);

		if (pin && access(pin, F_OK) < 0 && errno == ENOENT)
			n += bpf_obj_pin(bpf_map__fd(map), pin) == 0;
	}
	return n;
}

int kernel_repin(struct kernel *k)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/links", k->pin_dir);
	if (access(path, F_OK) < 0) { /* the whole folder: make it again */
		(void)mkdir(k->pin_dir, 0700);
		(void)mkdir(path, 0700);
	}
	(void)snprintf(path, sizeof(path), "%s/maps", k->pin_dir);
	if (access(path, F_OK) < 0)
		(void)mkdir(path, 0700);
	return pin_again(k);
}

int kernel_repair(struct kernel *k)
{
	uint64_t id;
	int r;

	r = attach_cgroup_id(k->cgroup, &id);
	if (r < 0) {
		(void)snprintf(k->trouble, sizeof(k->trouble), "cgroup %s: %s", k->cgroup,
			       strerror(-r));
		k->cgroup_ok = false;
		return r;
	}
	if (kernel_attached(k) == _HOOK_MAX) {
		k->cgroup_ok = true;
		return 0;
	}
	r = attach_all(k);
	k->cgroup_ok = r >= 0;
	if (r < 0)
		return r;
	k->repairs++;
	return 1;
}

int kernel_time_programs(void)
{
	/* The descriptor is the switch: it is kept for as long as we live. */
	return bpf_enable_stats(BPF_STATS_RUN_TIME) < 0 ? -errno : 0;
}

int kernel_uninstall(const char *bpffs, int *ret_pid)
{
	_cleanup_close_ int lock = -1;

	if (access(bpffs, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	lock = pin_lock(bpffs);
	if (lock == -EBUSY)
		*ret_pid = pin_read_pid(bpffs, SN_ABI_VERSION);
	if (lock < 0)
		return lock;
	return pin_remove_all(bpffs);
}
