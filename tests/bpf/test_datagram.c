/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unconnected datagram sockets: one backend for as long as it is usable, replies under the address
 * that was asked, several services over one socket, and several threads.
 * Pitfalls: P-03, P-06, P-08, P-66.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include "bpf/world.h"

/* Service n has backends 10 n .. 10 n + 3, and its set at 100 n. */
static struct stages *s;
static struct sn_frontend vip[4];

static int open_world(void **state)
{
	static const char *const address[] = {"", "10.96.0.1", "10.96.0.2", "fd00::3"};

	s = world_open(NULL);
	for (uint32_t i = 1; i <= 3; i++) {
		vip[i] = world_dest(address[i], 53, SN_PROTO_UDP);
		world_service(s, i, &vip[i], 100 * i);
	}
	return 0;
}

static int close_world(void **state)
{
	stages__destroy(s);
	return 0;
}

static int begin_anew(void **state)
{
	world_reset(s);
	for (uint32_t i = 1; i <= 3; i++)
		world_set(s, (struct world_extent){i, 100 * i, 10 * i},
			  (const uint32_t[]){1, 1, 1, 1}, 4);
	return 0;
}

static struct stage_call send_to(uint64_t cookie, struct sn_frontend dest)
{
	struct stage_call call = {.cookie = cookie, .dest = dest};

	world_run(s->progs.t_send, &call);
	return call;
}

/* The backend's index, from its address; 0: not sent to one. */
static uint32_t destination(struct stage_call call)
{
	if (call.r != SN_R_CONNECTED || call.to.port_be != htons(8080))
		return 0;
	return ntohl(call.to.addr.word_be[3]) - 0x0a000000;
}

static uint32_t sent(uint64_t cookie, struct sn_frontend dest)
{
	uint32_t backend = destination(send_to(cookie, dest));

	assert_int_not_equal(backend, 0);
	return backend;
}

static struct stage_call receive(uint64_t cookie, uint32_t backend, uint16_t port)
{
	struct stage_call call = {.cookie = cookie};

	call.dest = world_dest("10.0.0.0", port, SN_PROTO_UDP);
	call.dest.addr.word_be[3] = htonl(0x0a000000 + backend);
	world_run(s->progs.t_receive, &call);
	return call;
}

static void expect_reply_from(uint64_t cookie, uint32_t backend, const struct sn_frontend *asked)
{
	struct stage_call call = receive(cookie, backend, 8080);

	assert_int_equal(call.r, 1);
	assert_memory_equal(&call.to.addr, &asked->addr, sizeof(asked->addr));
	assert_int_equal(call.to.port_be, asked->port_be);
}

static void end(uint64_t cookie)
{
	struct stage_call call = {.cookie = cookie};

	world_run(s->progs.t_end, &call);
}

static uint32_t active_of(uint32_t service)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < 4; i++)
		sum += world_health(s, 10 * service + i).active;
	return sum;
}

static void test_a_socket_keeps_its_backend(void **state)
{
	uint32_t backend = sent(5, vip[1]);

	for (int i = 0; i < 50; i++)
		assert_int_equal(sent(5, vip[1]), backend);
	assert_int_equal(world_health(s, backend).attempts, 1);
	assert_int_equal(world_health(s, backend).active, 1);
	assert_int_equal(world_health(s, backend).outcome[SN_R_CONNECTED], 1);
	expect_reply_from(5, backend, &vip[1]);
	end(5);
	assert_int_equal(active_of(1), 0);
	assert_int_equal(receive(5, backend, 8080).r, 0);
}

static void test_another_source_keeps_its_own_address(void **state)
{
	uint32_t backend = sent(5, vip[1]);

	assert_int_equal(receive(5, backend, 8081).r, 0);
	assert_int_equal(receive(5, backend + 1, 8080).r, 0);
	assert_int_equal(receive(6, backend, 8080).r, 0);
}

/* One socket, three services: the first in its flow, the others in sn_reverse, both ways. */
static void test_further_services_keep_theirs(void **state)
{
	uint32_t one = sent(5, vip[1]), two = sent(5, vip[2]), three = sent(5, vip[3]);

	for (int i = 0; i < 20; i++) {
		assert_int_equal(sent(5, vip[2]), two);
		assert_int_equal(sent(5, vip[1]), one);
		assert_int_equal(sent(5, vip[3]), three);
	}
	expect_reply_from(5, one, &vip[1]);
	expect_reply_from(5, two, &vip[2]);
	expect_reply_from(5, three, &vip[3]);
	assert_int_equal(world_health(s, two).attempts, 1);
	assert_int_equal(world_health(s, two).active, 0); /* its flow is about the first one */
	assert_int_equal(active_of(1), 1);
	assert_int_equal(world_node_count(s, SN_R_REVERSE_MISS), 0);
	assert_int_equal(receive(5, 63, 8080).r, 0);
	assert_int_equal(world_node_count(s, SN_R_REVERSE_MISS), 1);
}

static void test_p08_a_backend_asked_directly_answers_as_itself(void **state)
{
	uint32_t backend = sent(5, vip[1]);
	struct sn_frontend direct = world_dest("10.0.0.0", 8080, SN_PROTO_UDP);

	direct.addr.word_be[3] = htonl(0x0a000000 + backend);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send_to(5, direct).r, SN_R_MAX);
		assert_int_equal(receive(5, backend, 8080).r, 0);
		assert_int_equal(sent(5, vip[1]), backend);
		expect_reply_from(5, backend, &vip[1]);
	}
	assert_int_equal(world_health(s, backend).attempts, 1);
}

static void test_p03_a_gone_backend_is_left_at_the_next_datagram(void **state)
{
	static const uint32_t states[] = {SN_BACKEND_GONE, SN_BACKEND_DRAINING};

	for (size_t i = 0; i < 2; i++) {
		uint32_t old, new;

		assert_int_equal(begin_anew(NULL), 0);
		old = sent(5, vip[1]);
		world_backend(s, old, 1, states[i], 1);
		new = sent(5, vip[1]);
		while (new == old) /* the set still has it; the daemon publishes another */
			new = sent(5, vip[1]);
		assert_int_equal(sent(5, vip[1]), new);
		expect_reply_from(5, new, &vip[1]);
		expect_reply_from(5, old, &vip[1]); /* a late one */
		assert_int_equal(world_health(s, old).active, 0);
		assert_int_equal(active_of(1), 1);
		end(5);
		assert_int_equal(active_of(1), 0);
	}
}

static void test_a_reused_backend_number_is_another_backend(void **state)
{
	uint32_t old = sent(5, vip[1]);

	world_backend(s, old, 2, SN_BACKEND_ACTIVE, 2);
	world_set(s, (struct world_extent){1, 100, 50}, (const uint32_t[]){1}, 1);
	assert_int_equal(sent(5, vip[1]), 50);
	assert_int_equal(world_health(s, 50).active, 1);
	/* Its old count went with its number: the end is the node's. */
	assert_int_equal(world_node_count(s, SN_R_FLOW_STALE), 1);
}

static void test_no_backend_is_told_and_the_flow_stays(void **state)
{
	uint32_t old = sent(5, vip[1]);

	world_set(s, (struct world_extent){1, 100, 50}, NULL, 0);
	assert_int_equal(sent(5, vip[1]), old); /* it is usable still */
	world_backend(s, old, 1, SN_BACKEND_GONE, 1);
	assert_int_equal(send_to(5, vip[1]).r, SN_R_NO_BACKEND);
	expect_reply_from(5, old, &vip[1]);
	assert_int_equal(active_of(1), 1);
}

static void test_p06_idle_sockets_are_not_crowded_out(void **state)
{
	struct sn_frontend dest = vip[1];
	uint32_t first[200];

	for (uint64_t i = 0; i < 200; i++)
		first[i] = sent(1000 + i, vip[1]);
	/* Far more pairs than sn_reverse has room for, all by one other socket. */
	(void)sent(5, vip[1]);
	for (uint32_t i = 0; i < 10000; i++) {
		dest.addr.word_be[3] = htonl(0x0a610000 + i);
		world_service(s, 2, &dest, 200);
		(void)sent(5, dest);
		world_unservice(s, &dest);
	}
	world_service(s, 2, &vip[2], 200);
	for (uint64_t i = 0; i < 200; i++)
		expect_reply_from(1000 + i, first[i], &vip[1]);
}

static void test_without_room_the_datagram_goes_out_untracked(void **state)
{
	(void)sent(5, vip[1]);
	assert_int_equal(send_to(5 + WORLD_FLOWS, vip[1]).r, SN_R_CONNECTED);
	assert_int_equal(world_service_count(s, 1, SN_R_UNTRACKED), 1);
	assert_int_equal(active_of(1), 1);
}

/* --- several threads over one socket ------------------------------------------------------ */

#define THREADS 4
#define ROUNDS 1500

static struct race {
	pthread_barrier_t start, end;
	uint64_t cookie;
	uint32_t backend[THREADS];
	uint32_t old; /* gone meanwhile; 0: none */
} race;

static void *race_one(void *arg)
{
	uint32_t i = (uint32_t)(uintptr_t)arg;

	for (int round = 0; round < ROUNDS; round++) {
		(void)pthread_barrier_wait(&race.start);
		race.backend[i] = destination(send_to(race.cookie, vip[1]));
		(void)pthread_barrier_wait(&race.end);
	}
	return NULL;
}

/* The barriers' other side: prepares a round, lets them go, looks at what came of it. */
static void run_race(void (*before)(void), void (*after)(void))
{
	pthread_t threads[THREADS];

	(void)pthread_barrier_init(&race.start, NULL, THREADS + 1);
	(void)pthread_barrier_init(&race.end, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race_one, (void *)i), 0);
	for (int round = 0; round < ROUNDS; round++) {
		before();
		(void)pthread_barrier_wait(&race.start);
		(void)pthread_barrier_wait(&race.end);
		after();
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	(void)pthread_barrier_destroy(&race.start);
	(void)pthread_barrier_destroy(&race.end);
}

static uint64_t strays;

static void new_socket(void)
{
	race.cookie++;
}

static void one_flow_was_made(void)
{
	assert_int_equal(active_of(1), 1);
	for (int i = 0; i < THREADS; i++) {
		assert_in_range(race.backend[i], 10, 13);
		strays += race.backend[i] != race.backend[0];
	}
	end(race.cookie);
	assert_int_equal(active_of(1), 0);
}

static uint64_t untracked(void)
{
	return world_service_count(s, 1, SN_R_UNTRACKED);
}

/* The first datagrams of a socket, sent by all threads at once: one flow, and one backend unless a
 * thread lost patience with an interrupted one, which is counted. */
static void test_p66_first_datagrams_at_once_make_one_flow(void **state)
{
	strays = 0;
	race.cookie = 1 << 20;
	run_race(new_socket, one_flow_was_made);
	assert_true(strays <= THREADS * untracked());
}

static void backend_goes(void)
{
	race.cookie++;
	race.old = sent(race.cookie, vip[1]);
	world_backend(s, race.old, 1, SN_BACKEND_GONE, 1);
}

static void all_have_left(void)
{
	assert_int_equal(active_of(1), 1);
	world_backend(s, race.old, 1, SN_BACKEND_ACTIVE, 1);
	end(race.cookie);
	assert_int_equal(active_of(1), 0);
}

static void test_p66_leaving_a_gone_backend_at_once_keeps_the_count(void **state)
{
	race.cookie = 1 << 21;
	run_race(backend_goes, all_have_left);
	for (uint32_t i = 10; i < 14; i++)
		assert_int_equal(world_health(s, i).active, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, begin_anew)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_socket_keeps_its_backend),
		TEST(test_another_source_keeps_its_own_address),
		TEST(test_further_services_keep_theirs),
		TEST(test_p08_a_backend_asked_directly_answers_as_itself),
		TEST(test_p03_a_gone_backend_is_left_at_the_next_datagram),
		TEST(test_a_reused_backend_number_is_another_backend),
		TEST(test_no_backend_is_told_and_the_flow_stays),
		TEST(test_p06_idle_sockets_are_not_crowded_out),
		TEST(test_without_room_the_datagram_goes_out_untracked),
		TEST(test_p66_first_datagrams_at_once_make_one_flow),
		TEST(test_p66_leaving_a_gone_backend_at_once_keeps_the_count),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
