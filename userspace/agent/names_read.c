/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See names.h: what dns.* means, and the sockets. Before: config.c read texts. After: names.c.
 */
#include <errno.h>
#include <string.h>

#include "agent/names.h"
#include "base/log.h"
#include "model/address.h"

#define PORT 53

static bool is_loopback(const struct sn_addr *addr)
{
	struct prefix four, six;

	return (prefix_parse("127.0.0.0/8", &four) >= 0 && prefix_contains(&four, addr)) ||
	       (prefix_parse("::1/128", &six) >= 0 && prefix_contains(&six, addr));
}

static int bad(const char *key, const char *text, const char *expected)
{
	log_err("%s is \"%.100s\", expected %s", key, text, expected);
	return -EINVAL;
}

static int read_zone(const struct agent_config *c, struct names_config *n)
{
	int r = dns_names_set_zone(&n->dns.names, c->dns_domain);

	if (r < 0)
		return bad("dns.domain", c->dns_domain, "a domain in lower case: sinew");
	for (size_t i = 0; i < c->n_dns_aliases; i++) {
		r = dns_names_add_alias(&n->dns.names, c->dns_aliases[i]);
		if (r < 0)
			return bad("dns.aliases", c->dns_aliases[i],
				   r == -E2BIG ? "at most 16 of them" : "*.DOMAIN, in lower case");
	}
	return 0;
}

static int read_resolver(struct names_config *n, const char *text)
{
	struct dns_resolver *to = &n->resolvers[n->n_resolvers];

	if (n->n_resolvers == DNS_RESOLVERS)
		return bad("dns.forward", text, "at most 8 resolvers");
	if (address_parse_port(text, &to->addr, &to->port) < 0 || !address_is_target(&to->addr))
		return bad("dns.forward", text,
			   "refuse, or addresses of resolvers: 10.0.0.2, [fd00::2]:53");
	if (!to->port)
		to->port = PORT;
	if (to->port == n->port && address_is_equal(&to->addr, &n->dns.own))
		return bad("dns.forward", text, "somebody else than this agent itself");
	n->n_resolvers++;
	return 0;
}

static int read_forward(const struct agent_config *c, struct names_config *n)
{
	int r = 0;

	if (c->n_dns_forward == 1 && !strcmp(c->dns_forward[0], "refuse"))
		return 0;
	for (size_t i = 0; r >= 0 && i < c->n_dns_forward; i++)
		r = read_resolver(n, c->dns_forward[i]);
	n->dns.forwards = n->n_resolvers > 0;
	return r;
}

int names_read(const struct agent_config *c, struct names_config *ret)
{
	struct names_config n = {.wanted = true, .door = {-1, -1, 0}};
	int r;

	if (!*c->dns_address) {
		*ret = (struct names_config){.door = {-1, -1, 0}};
		return 0;
	}
	if (address_parse_port(c->dns_address, &n.dns.own, &n.port) < 0 || !is_loopback(&n.dns.own))
		return bad("dns.address", c->dns_address,
			   "a loopback address: 127.0.0.153:53, or empty for none");
	if (!n.port)
		n.port = PORT;
	if (c->dns_ttl_ms / 1000 > 86400)
		return bad("dns.ttl", "more than a day", "at most 1d");
	n.dns.ttl = (uint32_t)(c->dns_ttl_ms / 1000);
	r = read_zone(c, &n);
	if (r >= 0)
		r = read_forward(c, &n);
	if (r >= 0)
		*ret = n;
	return r;
}

int names_bind(struct names_config *n)
{
	char text[ADDRESS_TEXT];
	int r;

	if (!n->wanted)
		return 0;
	r = dns_door_open(&n->dns.own, n->port, &n->door);
	if (r < 0)
		return log_err_r(r, "cannot answer DNS at %s%s",
				 address_format_port(&n->dns.own, n->port, text),
				 r == -EACCES
					 ? ": a port below 1024 takes CAP_NET_BIND_SERVICE at the "
					   "start (the unit sinew-agent.service has it)"
					 : "");
	return 0;
}
