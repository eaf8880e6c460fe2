/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/claim: who holds an address and port, against a list that is searched from end to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "model/claim.h"

#define SERVICES 24
#define PORTS 3
#define ADDRESSES 5

struct ported {
	struct service s;
	struct service_port ports[PORTS];
};

static uint32_t draw(uint32_t below)
{
	static uint64_t random_state = 77;

	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % below;
}

static struct sn_addr address(unsigned int i)
{
	struct sn_addr a;

	assert_int_equal(address_parse(i % 2 ? "10.0.0.1" : "fd00::1", &a), 0);
	a.word_be[3] = htonl(i + 1);
	return a;
}

static void set_ports(struct ported *p, const uint16_t *ports, size_t n)
{
	p->s.ports = p->ports;
	p->s.n_ports = n;
	for (size_t i = 0; i < n; i++)
		p->ports[i] = (struct service_port){(char *)"", ports[i], SN_PROTO_TCP};
}

static void test_shared_port_by_port(void **state)
{
	struct ported a = {}, b = {}, c = {};
	struct sn_addr at = address(1);
	struct claims claims = {.seed = 5};
	struct claim_conflict conflict;
	struct sn_frontend key = {.addr = at, .port_be = htons(81), .proto = SN_PROTO_TCP};

	set_ports(&a, (uint16_t[]){80, 81}, 2);
	set_ports(&b, (uint16_t[]){82, 81}, 2);
	set_ports(&c, (uint16_t[]){83}, 1);
	assert_null(claim_find(&claims, &key));
	assert_int_equal(claims_reserve(&claims, 9), 0);
	assert_true(claim_hold(&claims, &a.s, &at, &conflict));
	assert_false(claim_hold(&claims, &b.s, &at, &conflict));
	assert_ptr_equal(conflict.owner, &a.s);
	assert_int_equal(conflict.port, 1);
	assert_false(conflict.alone);
	key.port_be = htons(82); /* nothing of the refused one was entered */
	assert_null(claim_find(&claims, &key));
	assert_true(claim_hold(&claims, &c.s, &at, &conflict));
	key.port_be = htons(81);
	assert_ptr_equal(claim_find(&claims, &key)->owner, &a.s);
	assert_int_equal(claim_find(&claims, &key)->value, 1);
	claim_release(&claims, &a.s, &at);
	assert_null(claim_find(&claims, &key));
	assert_true(claim_hold(&claims, &b.s, &at, &conflict));
	claim_release(&claims, &b.s, &at);
	claim_release(&claims, &c.s, &at);
	assert_int_equal(claims.n, 0);
	claims_done(&claims);
}

static void test_alone(void **state)
{
	struct ported any = {}, own = {.s = {.allocated = true}}, plain = {};
	struct sn_addr at = address(3);
	struct claims claims = {};
	struct claim_conflict conflict;

	set_ports(&any, (uint16_t[]){SN_PORT_ANY}, 1);
	set_ports(&own, (uint16_t[]){1}, 1);
	set_ports(&plain, (uint16_t[]){2}, 1);
	assert_int_equal(claims_reserve(&claims, 8), 0);
	assert_true(claim_hold(&claims, &any.s, &at, &conflict));
	assert_false(claim_hold(&claims, &plain.s, &at, &conflict));
	assert_true(conflict.alone);
	assert_ptr_equal(conflict.owner, &any.s);
	assert_false(claim_hold(&claims, &own.s, &at, &conflict));
	claim_release(&claims, &any.s, &at);
	assert_true(claim_hold(&claims, &plain.s, &at, &conflict));
	assert_false(claim_hold(&claims, &own.s, &at, &conflict));
	assert_true(conflict.alone);
	assert_null(conflict.owner); /* several may share it */
	claim_release(&claims, &plain.s, &at);
	assert_true(claim_hold(&claims, &own.s, &at, &conflict));
	claims_done(&claims);
}

/* --- against a reference ------------------------------------------------------------------ */

struct walk {
	struct claims claims;
	struct ported services[SERVICES];
	bool holds[SERVICES][ADDRESSES];
};

static bool must_be_alone(const struct service *s)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (s->ports[i].port == SN_PORT_ANY)
			return true;
	return s->allocated;
}

static bool shares_port(const struct service *a, const struct service *b)
{
	for (size_t i = 0; i < a->n_ports; i++)
		for (size_t k = 0; k < b->n_ports; k++)
			if (a->ports[i].port == b->ports[k].port)
				return true;
	return false;
}

static bool may_hold(const struct walk *w, size_t which, size_t at)
{
	const struct service *s = &w->services[which].s;

	for (size_t i = 0; i < SERVICES; i++) {
		const struct service *other = &w->services[i].s;

		if (w->holds[i][at] &&
		    (must_be_alone(s) || must_be_alone(other) || shares_port(s, other)))
			return false;
	}
	return true;
}

static const struct service *owner_of(const struct walk *w, size_t at, uint16_t port)
{
	const struct service *owner = NULL;

	for (size_t i = 0; i < SERVICES; i++)
		for (size_t k = 0; w->holds[i][at] && k < w->services[i].s.n_ports; k++)
			owner = w->services[i].ports[k].port == port ? &w->services[i].s : owner;
	return owner;
}

static void check_found(const struct walk *w, size_t at)
{
	struct sn_frontend key = {.addr = address((unsigned int)at), .proto = SN_PROTO_TCP};

	for (uint16_t port = 0; port < 6; port++) {
		const struct claim *found;

		key.port_be = htons(port);
		found = claim_find(&w->claims, &key);
		assert_ptr_equal(found ? found->owner : NULL, owner_of(w, at, port));
	}
}

static void test_random_against_reference(void **state)
{
	struct walk w = {.claims = {.seed = 3}};
	struct claim_conflict conflict;
	unsigned int held = 0, refused = 0;

	for (size_t i = 0; i < SERVICES; i++) {
		uint16_t first = (uint16_t)draw(6);

		set_ports(&w.services[i], (uint16_t[]){first, (uint16_t)((first + 1) % 6)},
			  1 + draw(2));
		w.services[i].s.allocated = !draw(6);
	}
	for (unsigned int round = 0; round < 40000; round++) {
		size_t i = draw(SERVICES), at = draw(ADDRESSES);
		struct sn_addr addr = address((unsigned int)at);
		struct service *s = &w.services[i].s;

		if (w.holds[i][at]) {
			claim_release(&w.claims, s, &addr);
			w.holds[i][at] = false;
		} else {
			bool may = may_hold(&w, i, at);

			assert_int_equal(claims_reserve(&w.claims, claim_count(s)), 0);
			assert_int_equal(claim_hold(&w.claims, s, &addr, &conflict), may);
			w.holds[i][at] = may;
			held += may;
			refused += !may;
		}
		check_found(&w, at);
	}
	assert_true(held > 2000 && refused > 2000);
	claims_done(&w.claims);
}

/* Many, so that the table grows and its chains are long. */
static void test_many(void **state)
{
	static struct ported services[3000];
	struct claims claims = {};
	struct claim_conflict conflict;

	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(services); i++) {
			struct sn_addr at = address(i);

			set_ports(&services[i], (uint16_t[]){(uint16_t)(i + 1)}, 1);
			assert_int_equal(claims_reserve(&claims, claim_count(&services[i].s)), 0);
			assert_true(claim_hold(&claims, &services[i].s, &at, &conflict));
		}
		assert_int_equal(claims.n, 2 * ARRAY_SIZE(services));
		for (unsigned int i = ARRAY_SIZE(services); i-- > 0;) {
			struct sn_addr at = address(i);
			struct sn_frontend key = {.addr = at,
						  .port_be = htons((uint16_t)(i + 1)),
						  .proto = SN_PROTO_TCP};

			assert_ptr_equal(claim_find(&claims, &key)->owner, &services[i].s);
			claim_release(&claims, &services[i].s, &at);
			assert_null(claim_find(&claims, &key));
		}
		assert_int_equal(claims.n, 0);
	}
	assert_true(claims.capacity <= 16384);
	claims_done(&claims);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_port_by_port),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_random_against_reference),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
