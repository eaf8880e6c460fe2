/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See diag.h. Before: evict.c has entered a namespace. One dump of the connected datagram sockets
 * of each family; a destroy request names 4-tuple and cookie, so nothing but that very socket ends.
 * Must never ask for a socket whose flow does not say so.
 */
#include "kernel/diag.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sinew/health.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DIAG_BATCH 1024
#define DIAG_BYTES 32768

/* --- which -------------------------------------------------------------------------------------
 */

/* As sn_is_drained(). */
static bool is_drained(const struct diag_maps *maps, uint32_t backend)
{
	struct sn_health health;
	struct timespec now;

	if (bpf_map_lookup_elem(maps->health_fd, &backend, &health) < 0 ||
	    health.held != SN_HOLD_DRAIN)
		return false;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec < health.held_until_ns;
}

static bool is_stale(const struct diag_maps *maps, const struct sn_flow *flow)
{
	struct sn_backend backend;

	if (!flow->cookie || flow->state != SN_FLOW_UDP_CONNECTED)
		return false;
	if (bpf_map_lookup_elem(maps->backends_fd, &flow->backend, &backend) < 0)
		return false;
	return backend.incarnation != flow->incarnation || backend.state != SN_BACKEND_ACTIVE ||
	       is_drained(maps, flow->backend);
}

/* As sn_is_terminated() of the iterator. */
static bool is_terminated(const struct diag_maps *maps, const struct sn_flow *flow)
{
	struct sn_backend backend;
	struct sn_service service;
	struct sn_policy policy;

	if (!flow->cookie || flow->state != SN_FLOW_ESTABLISHED ||
	    bpf_map_lookup_elem(maps->backends_fd, &flow->backend, &backend) < 0 ||
	    backend.state != SN_BACKEND_GONE || backend.incarnation != flow->incarnation ||
	    bpf_map_lookup_elem(maps->services_fd, &backend.service, &service) < 0 ||
	    memcmp(&service.frontend.addr, &flow->orig, sizeof(flow->orig)) != 0)
		return false;
	return bpf_map_lookup_elem(maps->policies_fd, &service.policy, &policy) >= 0 &&
	       policy.flags & SN_POLICY_TERMINATE;
}

bool diag_uses(const struct diag_maps *maps, int fd)
{
	return fd == maps->flows_fd || fd == maps->backends_fd || fd == maps->health_fd ||
	       fd == maps->services_fd || fd == maps->policies_fd;
}

static int compare_cookies(const void *a, const void *b)
{
	const struct sn_flow *x = a, *y = b;

	return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

int diag_find_stale(const struct diag_maps *maps, bool streams, struct sn_flow *ret, size_t max)
{
	_cleanup_free_ struct sn_flow *flows = calloc(DIAG_BATCH, sizeof(*flows));
	_cleanup_free_ uint32_t *keys = calloc(DIAG_BATCH, sizeof(*keys));
	uint32_t at = 0, seen = 0;
	size_t found = 0;
	__u32 n;
	int r = 0;

	if (!flows || !keys)
		return -ENOMEM;
	while (r >= 0 && seen < maps->flow_entries && found < max) {
		n = DIAG_BATCH;
		r = bpf_map_lookup_batch(maps->flows_fd, seen ? &at : NULL, &at, keys, flows, &n,
					 NULL) < 0
			    ? -errno
			    : 0;
		if (r < 0 && r != -ENOENT)
			return r;
		seen += n;
		for (__u32 i = 0; i < n && found < max; i++)
			if (is_stale(maps, &flows[i]) ||
			    (streams && is_terminated(maps, &flows[i])))
				ret[found++] = flows[i];
	}
	qsort(ret, found, sizeof(*ret), compare_cookies);
	return (int)found;
}

/* --- netlink -----------------------------------------------------------------------------------
 */

struct diag_request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

static int diag_send(int fd, uint16_t type, uint16_t flags, const struct inet_diag_req_v2 *body)
{
	struct diag_request request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = type,
			   .nlmsg_flags = NLM_F_REQUEST | flags},
		.body = *body,
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

static int diag_open(void)
{
	const struct timeval patience = {.tv_sec = 2};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* The kernel's acknowledgement of one request: 0 or its -errno. */
static int receive_ack(int fd)
{
	union {
		struct nlmsghdr header;
		char bytes[1024];
	} answer;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	const struct nlmsgerr *error = NLMSG_DATA(&answer.header);

	if (n < 0)
		return -errno;
	if ((size_t)n < NLMSG_LENGTH(sizeof(*error)) || answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return error->error;
}

/* --- one namespace -------------------------------------------------------------------------------
 */

struct ending {
	const struct sn_flow *stale;
	size_t n;
	uint8_t protocol; /* of the dump */
	int fd;           /* for the requests; the dump has its own */
	uint32_t ended;
	int r; /* first refusal */
};

static bool is_peer(const struct inet_diag_msg *m, const struct sn_flow *flow)
{
	struct sn_addr peer = {};

	if (m->idiag_family == AF_INET) {
		peer.word_be[2] = htonl(0xffff);
		peer.word_be[3] = m->id.idiag_dst[0];
	} else {
		memcpy(&peer, m->id.idiag_dst, sizeof(peer));
	}
	return m->id.idiag_dport == flow->peer_port_be && !memcmp(&peer, &flow->peer, sizeof(peer));
}

static void end_if_stale(struct ending *e, const struct inet_diag_msg *m)
{
	struct sn_flow key = {.cookie = (uint64_t)m->id.idiag_cookie[1] << 32 |
					m->id.idiag_cookie[0]};
	const struct sn_flow *flow =
		bsearch(&key, e->stale, e->n, sizeof(*e->stale), compare_cookies);
	const struct inet_diag_req_v2 body = {
		.sdiag_family = m->idiag_family, .sdiag_protocol = e->protocol, .id = m->id};
	int r;

	if (!flow || !is_peer(m, flow))
		return;
	r = diag_send(e->fd, SOCK_DESTROY, NLM_F_ACK, &body);
	if (r >= 0)
		r = receive_ack(e->fd);
	if (r >= 0)
		e->ended++;
	else if (r != -ENOENT && e->r >= 0) /* ENOENT: it ended by itself meanwhile */
		e->r = r;
}

/* 1: there is more; 0: the dump is done. */
static int read_dump(struct ending *e, int fd, char *buffer)
{
	ssize_t n = recv(fd, buffer, DIAG_BYTES, 0);
	const struct nlmsghdr *h;

	if (n < 0)
		return -errno;
	for (h = (void *)buffer; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
		    h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			end_if_stale(e, NLMSG_DATA(h));
	}
	return 1;
}

static int end_family(struct ending *e, uint8_t family, char *buffer)
{
	const struct inet_diag_req_v2 body = {.sdiag_family = family,
					      .sdiag_protocol = e->protocol,
					      .idiag_states =
						      1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT};
	_cleanup_close_ int fd = diag_open();
	int r;

	if (fd < 0)
		return fd;
	r = diag_send(fd, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &body);
	if (r < 0)
		return r;
	do
		r = read_dump(e, fd, buffer);
	while (r > 0);
	return r;
}

static int end_protocol(struct ending *e, uint8_t protocol, char *buffer)
{
	int r;

	e->protocol = protocol;
	r = end_family(e, AF_INET, buffer);
	return r < 0 ? r : end_family(e, AF_INET6, buffer);
}

static bool has_streams(const struct sn_flow *flows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (flows[i].state == SN_FLOW_ESTABLISHED)
			return true;
	return false;
}

int diag_end(const struct sn_flow *stale, size_t n, uint32_t *ret_ended)
{
	_cleanup_close_ int fd = diag_open();
	_cleanup_free_ char *buffer = malloc(DIAG_BYTES);
	struct ending e = {.stale = stale, .n = n, .fd = fd};
	int r;

	if (fd < 0 || !buffer)
		return fd < 0 ? fd : -ENOMEM;
	r = end_protocol(&e, IPPROTO_UDP, buffer);
	if (r >= 0 && has_streams(stale, n))
		r = end_protocol(&e, IPPROTO_TCP, buffer);
	*ret_ended = e.ended;
	return r < 0 ? r : e.r;
}

int diag_probe(void)
{
	const struct sn_flow nothing = {};
	uint32_t ended;

	return diag_end(&nothing, 0, &ended);
}
