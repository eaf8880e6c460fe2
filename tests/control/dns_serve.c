/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DNS server by itself, with services of its own making, for tests and measurements:
 *   dns_serve [N [RESOLVER:PORT...]]   N services "sN.shop.sinew" beside "pay.shop.sinew" and
 * "many.shop.sinew"; N "-": it never learns what there is. Names of others are asked of resolvers.
 * Prints its port; counts go out as one JSON line when standard input ends, and it ends then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns/server.h"
#include "model/address.h"

#define MOST 20000

static struct dns_server *server;
static struct dns_forward *forward;
static char in[64];

static struct service *make_service(const char *name, uint32_t number, size_t n_ports)
{
	static char names[32][16];
	struct service_port ports[32];
	struct service draft = {.namespace = (char *)"shop",
				.name = (char *)name,
				.source = (char *)"test",
				.policy = (char *)"default",
				.ports = ports,
				.n_ports = n_ports,
				.n_addresses = 1};
	struct service *s = NULL;
	char address[ADDRESS_TEXT];

	for (size_t i = 0; i < n_ports; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "port-number-%zu", i % 32);
		ports[i] = (struct service_port){names[i], (uint16_t)(80 + i), SN_PROTO_TCP};
	}
	(void)snprintf(address, sizeof(address), "127.128.%u.%u", number >> 8 & 255, number & 255);
	if (address_parse(address, &draft.address[0]) < 0 || service_new(&draft, &s) < 0)
		abort();
	return s;
}

static void fill(size_t n)
{
	static struct service *all[MOST + 2];
	struct dns_table *table;
	char name[16];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "s%zu", i);
		all[i] = make_service(name, (uint32_t)i, 1);
	}
	all[n] = make_service("pay", 0xff01, 1);
	all[n + 1] = make_service("many", 0xff02, 32);
	if (dns_table_new(all, n + 2, &table) < 0)
		abort();
	for (size_t i = 0; i < n + 2; i++)
		service_unref(all[i]);
	dns_server_set_table(server, table);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	*ret = uv_buf_init(in, sizeof(in));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	const struct dns_counts *c = dns_server_counts(server);
	const struct dns_forward_counts none = {};
	const struct dns_forward_counts *f = forward ? dns_forward_counts(forward) : &none;

	if (n >= 0)
		return;
	(void)printf("{\"udp\": %llu, \"tcp\": %llu, \"dropped\": %llu, \"truncated\": %llu, "
		     "\"refused\": %llu, \"forwarded\": %llu, \"answered\": %llu, "
		     "\"unanswered\": %llu, \"full\": %llu, \"over_tcp\": %llu, "
		     "\"foreign\": %llu}\n",
		     (unsigned long long)c->queries_udp, (unsigned long long)c->queries_tcp,
		     (unsigned long long)c->dropped, (unsigned long long)c->truncated,
		     (unsigned long long)c->refused_connections, (unsigned long long)c->forwarded,
		     (unsigned long long)f->answered, (unsigned long long)f->unanswered,
		     (unsigned long long)f->refused, (unsigned long long)f->over_tcp,
		     (unsigned long long)f->foreign);
	uv_close((uv_handle_t *)stream, NULL);
	dns_server_close(server, NULL, NULL);
	dns_forward_close(forward);
}

static int open_server(uv_loop_t *loop, char **resolvers, size_t n)
{
	struct dns_settings settings = {.ttl = 5, .forwards = n > 0};
	struct dns_resolver list[DNS_RESOLVERS];
	struct dns_door door;

	for (size_t i = 0; i < n; i++)
		if (i == DNS_RESOLVERS ||
		    address_parse_port(resolvers[i], &list[i].addr, &list[i].port) < 0)
			return -EINVAL;
	if (dns_names_set_zone(&settings.names, "sinew") < 0 ||
	    address_parse("127.0.0.1", &settings.own) < 0 ||
	    (n && dns_forward_new(loop, list, n, &forward) < 0) ||
	    dns_door_open(&settings.own, 0, &door) < 0)
		return -EINVAL;
	return dns_server_open(loop, &settings, &door, forward, &server);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	uv_loop_t loop;
	uv_pipe_t input;

	if (n > MOST || uv_loop_init(&loop) < 0 ||
	    open_server(&loop, argv + 2, argc > 2 ? (size_t)argc - 2 : 0) < 0)
		return 1;
	if (argc < 2 || strcmp(argv[1], "-") != 0)
		fill(n);
	(void)printf("%u\n", dns_server_port(server));
	(void)fflush(stdout);
	if (uv_pipe_init(&loop, &input, 0) < 0 || uv_pipe_open(&input, 0) < 0 ||
	    uv_read_start((uv_stream_t *)&input, on_alloc, on_input) < 0)
		return 1;
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop) < 0;
}
