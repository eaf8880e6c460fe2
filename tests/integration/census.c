/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel holds below a pin folder, read without sinewd: its links, and every service with
 * the backends of its published set.
 *
 * Before it: a test that has killed or stopped sinewd, or not. After it: one line of JSON. It must
 * never change anything. A service that leads nowhere is told as "torn", with what is wrong.
 *
 *   census FOLDER      where FOLDER is <bpffs.dir>/vABI
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sinew/meta.h>
#include <sinew/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct maps {
	int frontends, services, slots, backends, meta;
};

static int open_map(const char *folder, const char *name)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/maps/%s", folder, name);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		(void)fprintf(stderr, "census: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static int print_link(const char *folder, const char *name, const char *separator)
{
	struct bpf_link_info info = {};
	__u32 length = sizeof(info);
	char path[512];
	_cleanup_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/links/%s", folder, name);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return -errno;
	printf("%s\"%s\": {\"id\": %u, \"program\": %u, \"cgroup\": %llu}", separator, name,
	       info.id, info.prog_id, (unsigned long long)info.cgroup.cgroup_id);
	return 0;
}

static void print_links(const char *folder)
{
	const char *separator = "";
	struct dirent *entry;
	char path[512];
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/links", folder);
	dir = opendir(path);
	printf("\"links\": {");
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && print_link(folder, entry->d_name, separator) >= 0)
			separator = ", ";
	if (dir)
		(void)closedir(dir);
	printf("}, ");
}

static int is_at(int map, __u32 index, void *ret)
{
	return bpf_map_lookup_elem(map, &index, ret) == 0;
}

static const char *print_member(const struct maps *m, __u32 at, __u32 service,
				const char *separator)
{
	struct sn_backend b;
	struct sn_slot slot;
	char text[INET6_ADDRSTRLEN];

	if (!is_at(m->slots, at, &slot) || slot.service != service)
		return "a member of another service";
	if (!is_at(m->backends, slot.backend, &b) || b.service != service)
		return "a backend of another service";
	if (b.state != SN_BACKEND_ACTIVE)
		return "a backend that is not active";
	(void)inet_ntop(AF_INET, &b.addr.word_be[3], text, sizeof(text));
	printf("%s[\"%s\", %u]", separator, text, ntohs(b.port_be));
	return NULL;
}

/* NULL, or what is wrong. */
static const char *print_members(const struct maps *m, __u32 index, const struct sn_frontend *key)
{
	struct sn_service service;
	struct sn_set set;
	const char *torn;

	if (!is_at(m->services, index, &service) ||
	    memcmp(&service.frontend, key, sizeof(*key)) != 0)
		return "a frontend of another service";
	if (!is_at(m->slots, service.set, &set) || set.service != index)
		return "a set of another service";
	if (!is_at(m->slots, service.set + 1, &set.count))
		return "a set without its second half";
	for (__u32 i = 0; i < set.count[0]; i++) {
		torn = print_member(m, service.set + SN_SET_HEADER + i, index, i ? ", " : "");
		if (torn)
			return torn;
	}
	return NULL;
}

static void print_service(const struct maps *m, const struct sn_frontend *key,
			  const char *separator)
{
	char text[INET6_ADDRSTRLEN];
	const char *torn;
	__u32 index;

	if (bpf_map_lookup_elem(m->frontends, key, &index) < 0)
		return;
	(void)inet_ntop(AF_INET, &key->addr.word_be[3], text, sizeof(text));
	printf("%s\"%s:%u\": {\"index\": %u, \"backends\": [", separator, text, ntohs(key->port_be),
	       index);
	torn = print_members(m, index, key);
	if (torn)
		printf("], \"torn\": \"%s\"}", torn);
	else
		printf("]}");
}

int main(int argc, char **argv)
{
	struct sn_frontend key, previous;
	struct sn_meta meta = {};
	bool first = true;
	struct maps m;

	if (argc != 2)
		return 2;
	m = (struct maps){.frontends = open_map(argv[1], "sn_frontends"),
			  .services = open_map(argv[1], "sn_services"),
			  .slots = open_map(argv[1], "sn_slots"),
			  .backends = open_map(argv[1], "sn_backends"),
			  .meta = open_map(argv[1], "sn_meta")};
	if (!is_at(m.meta, 0, &meta))
		return 1;
	printf("{\"pid\": %u, \"heartbeat\": %llu, ", meta.daemon_pid,
	       (unsigned long long)meta.heartbeat_ns);
	print_links(argv[1]);
	printf("\"services\": {");
	while (bpf_map_get_next_key(m.frontends, first ? NULL : &previous, &key) == 0) {
		print_service(&m, &key, first ? "" : ", ");
		previous = key;
		first = false;
	}
	printf("}}\n");
	return 0;
}
