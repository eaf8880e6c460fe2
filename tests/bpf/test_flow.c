/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A socket's flow from its pick to its end: claimed once, ended once, active balanced, whoever else
 * wants its slot; and what an end is booked as.
 * Pitfalls: P-01, P-03, P-22, P-65.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bpf/world.h"

#define FIRST 8u

static struct stages *s;
static struct sn_frontend tcp, udp;

static int open_world(void **state)
{
	s = world_open(NULL);
	tcp = world_dest("10.96.0.10", 80, SN_PROTO_TCP);
	udp = world_dest("10.96.0.10", 53, SN_PROTO_UDP);
	world_service(s, WORLD_SERVICE, &tcp, WORLD_SET);
	world_service(s, WORLD_SERVICE + 1, &udp, WORLD_SET + 50);
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
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, (const uint32_t[]){1},
		  1);
	world_set(s, (struct world_extent){WORLD_SERVICE + 1, WORLD_SET + 50, FIRST + 1},
		  (const uint32_t[]){1}, 1);
	return 0;
}

/* 1: tracked, 0: translated but not tracked. */
static uint32_t connect_to(struct sn_frontend dest, uint64_t cookie, uint32_t state)
{
	struct stage_call call = {.dest = dest, .cookie = cookie, .state = state};

	world_run(s->progs.t_connect, &call);
	assert_int_equal(call.r, SN_R_CONNECTED);
	return call.count;
}

static struct stage_call find(uint64_t cookie)
{
	struct stage_call call = {.cookie = cookie};

	world_run(s->progs.t_find, &call);
	return call;
}

static void set_state(uint64_t cookie, uint32_t state, uint64_t age_ns)
{
	struct stage_call call = {.cookie = cookie, .state = state, .ns = age_ns};

	world_run(s->progs.t_state, &call);
}

static int end(uint64_t cookie, int error, uint32_t reset)
{
	struct stage_call call = {.cookie = cookie, .error = error, .reset = reset};

	world_run(s->progs.t_end, &call);
	return (int)call.r;
}

static uint32_t active(void)
{
	return world_health(s, FIRST).active;
}

static void test_a_flow_tells_what_was_asked_and_what_was_got(void **state)
{
	struct stage_call call;

	assert_int_equal(connect_to(tcp, 5, SN_FLOW_PICKED), 1);
	call = find(5);
	assert_int_equal(call.r, 1);
	assert_int_equal(call.flow.cookie, 5);
	assert_memory_equal(&call.flow.orig, &tcp.addr, sizeof(tcp.addr));
	assert_int_equal(call.flow.orig_port_be, tcp.port_be);
	assert_int_equal(call.flow.peer.word_be[3], htonl(0x0a000000 + FIRST));
	assert_int_equal(call.flow.peer_port_be, htons(8080));
	assert_int_equal(call.flow.backend, FIRST);
	assert_int_equal(call.flow.incarnation, 1);
	assert_int_equal(call.flow.state, SN_FLOW_PICKED);
	assert_int_equal(call.flow.flags, 0);
	assert_int_equal(find(6).r, 0);
	assert_int_equal(find(5 + WORLD_FLOWS).r, 0);
}

static void test_a_backend_without_a_port_keeps_the_one_asked_for(void **state)
{
	struct sn_backend backend;

	world_get(s->maps.sn_backends, FIRST, &backend);
	backend.port_be = 0;
	world_put(s->maps.sn_backends, FIRST, &backend);
	assert_int_equal(connect_to(tcp, 5, SN_FLOW_PICKED), 1);
	assert_int_equal(find(5).flow.peer_port_be, htons(80));
}

static void test_attempts_are_outcomes_and_connects_in_progress(void **state)
{
	struct sn_health health;

	assert_int_equal(connect_to(tcp, 5, SN_FLOW_PICKED), 1);
	health = world_health(s, FIRST);
	assert_int_equal(health.attempts, 1);
	assert_int_equal(health.active, 1);
	assert_int_equal(health.outcome[SN_R_CONNECTED], 0);
	/* A datagram socket has no handshake. */
	assert_int_equal(connect_to(udp, 6, SN_FLOW_UDP_CONNECTED), 1);
	health = world_health(s, FIRST + 1);
	assert_int_equal(health.attempts, 1);
	assert_int_equal(health.active, 1);
	assert_int_equal(health.outcome[SN_R_CONNECTED], 1);
}

static void test_an_end_is_booked_once_and_the_slot_is_free(void **state)
{
	struct stage_call call = {.cookie = 5};

	assert_int_equal(connect_to(tcp, 5, SN_FLOW_ESTABLISHED), 1);
	world_run(s->progs.t_end_twice, &call);
	assert_int_equal(call.r, 1);
	assert_int_equal(active(), 0);
	assert_int_equal(find(5).r, 0);
	assert_int_equal(end(5, 0, 0), 0);
	assert_int_equal(active(), 0);
	assert_int_equal(connect_to(tcp, 5 + WORLD_FLOWS, SN_FLOW_PICKED), 1);
	assert_int_equal(find(5 + WORLD_FLOWS).r, 1);
	assert_int_equal(active(), 1);
}

/* The late end of a socket must not touch the one that has its slot now. */
static void test_an_end_that_comes_too_late_leaves_the_next_one_alone(void **state)
{
	assert_int_equal(connect_to(tcp, 5, SN_FLOW_ESTABLISHED), 1);
	assert_int_equal(end(5, 0, 0), 1);
	assert_int_equal(connect_to(tcp, 5 + WORLD_FLOWS, SN_FLOW_ESTABLISHED), 1);
	assert_int_equal(end(5, 0, 0), 0);
	assert_int_equal(active(), 1);
	assert_int_equal(find(5 + WORLD_FLOWS).flow.state, SN_FLOW_ESTABLISHED);
}

static void test_p22_reconnect_replaces_the_flow(void **state)
{
	for (int i = 0; i < 5; i++)
		assert_int_equal(connect_to(tcp, 5, SN_FLOW_ESTABLISHED), 1);
	assert_int_equal(active(), 1);
	assert_int_equal(world_health(s, FIRST).attempts, 5);
	assert_int_equal(end(5, 0, 0), 1);
	assert_int_equal(active(), 0);
	/* From one service to another: the first one is left. */
	assert_int_equal(connect_to(udp, 6, SN_FLOW_UDP_CONNECTED), 1);
	assert_int_equal(connect_to(tcp, 6, SN_FLOW_PICKED), 1);
	assert_int_equal(world_health(s, FIRST + 1).active, 0);
	assert_int_equal(active(), 1);
}

static void test_a_slot_of_a_live_socket_is_left_alone(void **state)
{
	assert_int_equal(connect_to(tcp, 5, SN_FLOW_ESTABLISHED), 1);
	/* No socket, no storage: translated, untracked, and counted as ended at once. */
	assert_int_equal(connect_to(tcp, 5 + WORLD_FLOWS, SN_FLOW_PICKED), 0);
	assert_int_equal(world_service_count(s, WORLD_SERVICE, SN_R_UNTRACKED), 1);
	assert_int_equal(find(5).r, 1);
	assert_int_equal(find(5 + WORLD_FLOWS).r, 0);
	assert_int_equal(active(), 1);
	assert_int_equal(world_health(s, FIRST).attempts, 2);
	assert_int_equal(world_health(s, FIRST).outcome[SN_R_CONNECTED], 1);
}

static void test_a_taken_slot_spills_to_socket_storage(void **state)
{
	char packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

	memset(&s->bss->spill, 0, sizeof(s->bss->spill));
	s->bss->spill.dest = tcp;
	s->bss->spill.cookie = 9;
	s->bss->spill.blocker = 9 + WORLD_FLOWS;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(s->progs.t_spill), &opts), 0);
	assert_int_equal(opts.retval, 0);
	assert_int_equal(s->bss->spill.r, 1);     /* went to storage */
	assert_int_equal(s->bss->spill.count, 1); /* counted as one that did */
	assert_int_equal(s->bss->spill.is_kernel,
			 1); /* a reconnect found it, the slot being free */
	assert_int_equal(s->bss->spill.flow.state, SN_FLOW_ESTABLISHED);
	assert_int_equal(s->bss->spill.spilled, 0); /* ended */
	assert_int_equal(active(), 0);
	assert_int_equal(world_node_count(s, SN_R_FLOW_SPILLED), 1);
}

static void test_each_state_ends_as_its_own_outcome(void **state)
{
	static const struct {
		uint32_t state;
		int error;
		uint32_t reset;
		uint64_t age_ns;
		enum sn_reason reason;
	} ends[] = {
		{SN_FLOW_PICKED, 0, 0, 0, SN_R_NOT_SENT},
		{SN_FLOW_CONNECTING, ECONNREFUSED, 0, 1000, SN_R_REFUSED},
		{SN_FLOW_CONNECTING, ETIMEDOUT, 0, 1000, SN_R_TIMEOUT},
		{SN_FLOW_CONNECTING, EHOSTUNREACH, 0, 1000, SN_R_UNREACHABLE},
		{SN_FLOW_CONNECTING, 0, 0, 1000, SN_R_ABORTED},
		{SN_FLOW_CONNECTING, 0, 0, 4000000000ull, SN_R_TIMEOUT},
		{SN_FLOW_CONNECTING, ECONNABORTED, 0, 1000, SN_R_ERROR},
		{SN_FLOW_ESTABLISHED, ECONNRESET, 1, 0, SN_R_RESET},
	};
	uint64_t before;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		before = world_health(s, FIRST).outcome[ends[i].reason];
		assert_int_equal(connect_to(tcp, 5, ends[i].state), 1);
		set_state(5, ends[i].state, ends[i].age_ns);
		assert_int_equal(end(5, ends[i].error, ends[i].reset), 1);
		assert_int_equal(world_health(s, FIRST).outcome[ends[i].reason], before + 1);
		assert_int_equal(active(), 0);
	}
	/* A connection that worked was counted when it was made. */
	assert_int_equal(connect_to(tcp, 5, SN_FLOW_ESTABLISHED), 1);
	assert_int_equal(end(5, ECONNRESET, 0), 1);
	assert_int_equal(world_health(s, FIRST).outcome[SN_R_CONNECTED], 0);
}

static void test_an_end_after_its_backend_was_replaced_is_the_nodes(void **state)
{
	assert_int_equal(connect_to(tcp, 5, SN_FLOW_CONNECTING), 1);
	world_backend(s, FIRST, WORLD_SERVICE, SN_BACKEND_ACTIVE, 2);
	assert_int_equal(end(5, ECONNREFUSED, 0), 1);
	assert_int_equal(world_node_count(s, SN_R_FLOW_STALE), 1);
	assert_int_equal(world_health(s, FIRST).outcome[SN_R_REFUSED], 0);
	assert_int_equal(world_health(s, FIRST).consecutive, 0);
}

static int is_stale(uint64_t cookie)
{
	struct stage_call call = {.cookie = cookie};

	world_run(s->progs.t_stale, &call);
	return (int)call.r;
}

static void test_p01_only_connected_datagrams_of_a_gone_backend_are_stale(void **state)
{
	assert_int_equal(connect_to(udp, 5, SN_FLOW_UDP_CONNECTED), 1);
	assert_int_equal(is_stale(5), 0);
	world_backend(s, FIRST + 1, WORLD_SERVICE + 1, SN_BACKEND_DRAINING, 1);
	assert_int_equal(is_stale(5), 1); /* P-10: datagrams move at once */
	world_backend(s, FIRST + 1, WORLD_SERVICE + 1, SN_BACKEND_GONE, 1);
	assert_int_equal(is_stale(5), 1);
	/* Its index given to another backend, which is well. */
	world_backend(s, FIRST + 1, WORLD_SERVICE + 1, SN_BACKEND_ACTIVE, 2);
	assert_int_equal(is_stale(5), 1);
}

static void test_p03_other_states_are_never_stale(void **state)
{
	static const uint32_t others[] = {SN_FLOW_FREE, SN_FLOW_PICKED, SN_FLOW_CONNECTING,
					  SN_FLOW_ESTABLISHED, SN_FLOW_UDP_UNCONNECTED};

	assert_int_equal(connect_to(udp, 5, SN_FLOW_UDP_CONNECTED), 1);
	world_backend(s, FIRST + 1, WORLD_SERVICE + 1, SN_BACKEND_GONE, 1);
	assert_int_equal(is_stale(5), 1);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		set_state(5, others[i], 0);
		assert_int_equal(is_stale(5), 0);
	}
}

/* --- many at once ------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 20000

static void *connect_and_end(void *arg)
{
	uint64_t cookie = 1 + (uint64_t)(uintptr_t)arg * WORLD_FLOWS; /* all want one slot */
	struct stage_call call = {.dest = tcp, .state = SN_FLOW_ESTABLISHED};

	for (uint64_t i = 0; i < ROUNDS; i++) {
		call.cookie = cookie + i * THREADS * WORLD_FLOWS;
		world_run(s->progs.t_connect, &call);
		if (call.count)
			world_run(s->progs.t_end, &call);
	}
	return NULL;
}

static void test_p65_sockets_that_want_one_slot_leave_nothing_behind(void **state)
{
	struct sn_health health;
	pthread_t threads[THREADS];
	struct sn_flow flow;

	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, connect_and_end, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	health = world_health(s, FIRST);
	assert_int_equal(health.active, 0);
	assert_int_equal(health.attempts, THREADS * ROUNDS);
	assert_int_equal(health.outcome[SN_R_CONNECTED],
			 world_service_count(s, WORLD_SERVICE, SN_R_UNTRACKED));
	world_get(s->maps.sn_flows, 1, &flow);
	assert_int_equal(flow.cookie, 0);
	assert_int_equal(flow.state, SN_FLOW_FREE);
}

#define TEST(name) cmocka_unit_test_setup(name, begin_anew)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_flow_tells_what_was_asked_and_what_was_got),
		TEST(test_a_backend_without_a_port_keeps_the_one_asked_for),
		TEST(test_attempts_are_outcomes_and_connects_in_progress),
		TEST(test_an_end_is_booked_once_and_the_slot_is_free),
		TEST(test_an_end_that_comes_too_late_leaves_the_next_one_alone),
		TEST(test_p22_reconnect_replaces_the_flow),
		TEST(test_a_slot_of_a_live_socket_is_left_alone),
		TEST(test_a_taken_slot_spills_to_socket_storage),
		TEST(test_each_state_ends_as_its_own_outcome),
		TEST(test_an_end_after_its_backend_was_replaced_is_the_nodes),
		TEST(test_p01_only_connected_datagrams_of_a_gone_backend_are_stale),
		TEST(test_p03_other_states_are_never_stale),
		TEST(test_p65_sockets_that_want_one_slot_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
