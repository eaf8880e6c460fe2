/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an application reports of its connection, and what is set by hand: whose report is believed,
 * what it is held against, and who leaves a backend that is drained.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sinew/report.h>
#include <time.h>

#include "bpf/world.h"

#define FIRST 8u
#define MEMBERS 4u
#define SECOND 1000000000ull

static struct stages *s;
static struct sn_frontend tcp, udp;
static uint64_t clock_ns; /* of reports */

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
	const struct sn_policy policy = {.consecutive = 5,
					 .bucket_ns = SECOND,
					 .min_volume = 20,
					 .failure_percent = 50,
					 .base_ns = 30 * SECOND,
					 .max_ns = 300 * SECOND,
					 .max_ejection_percent = 10,
					 .enforcing_percent = 100,
					 .probes = 1};
	static const uint32_t weights[MEMBERS] = {1, 1, 1, 1};

	world_reset(s);
	world_put(s->maps.sn_policies, 1, &policy);
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, weights, MEMBERS);
	world_set(s, (struct world_extent){WORLD_SERVICE + 1, WORLD_SET + 50, FIRST + MEMBERS},
		  weights, 1);
	clock_ns = 1000 * SECOND;
	return 0;
}

static uint32_t connect_to(struct sn_frontend dest, uint64_t cookie, uint32_t state)
{
	struct stage_call call = {.dest = dest, .cookie = cookie, .state = state};

	world_run(s->progs.t_connect, &call);
	assert_int_equal(call.r, SN_R_CONNECTED);
	assert_int_equal(call.count, 1);
	call.state = state;
	world_run(s->progs.t_state, &call);
	return call.backend;
}

static int tell(uint64_t cookie, uint64_t cgroup, bool failed)
{
	struct stage_call call = {
		.cookie = cookie, .caller = cgroup, .error = failed, .ns = clock_ns};

	world_run(s->progs.t_told, &call);
	return (int)call.r;
}

/* As sock_ops counts an established connection. */
static void count_connect(uint32_t backend)
{
	struct stage_call call = {.backend = backend, .ns = 1000};

	world_run(s->progs.t_connected, &call);
}

static void test_only_the_tellers_own_established_flows_are_believed(void **state)
{
	uint32_t backend = connect_to(tcp, 5, SN_FLOW_PICKED);
	struct sn_backend other;

	assert_int_equal(tell(5, 0, true), SN_TELL_EARLY);
	(void)connect_to(tcp, 6, SN_FLOW_CONNECTING);
	assert_int_equal(tell(6, 0, true), SN_TELL_EARLY);
	assert_int_equal(tell(7, 0, true), SN_TELL_UNKNOWN);
	assert_int_equal(tell(0, 0, true), SN_TELL_UNKNOWN);
	assert_int_equal(tell(5 + WORLD_FLOWS, 0, true), SN_TELL_UNKNOWN);
	(void)connect_to(tcp, 8, SN_FLOW_ESTABLISHED);
	assert_int_equal(tell(8, 1, true), SN_TELL_FOREIGN);
	/* What is remembered of a workload are its low 32 bits. */
	assert_int_equal(tell(8, 7ull << 32, false), SN_TELL_COUNTED);
	for (uint32_t i = 0; i < MEMBERS; i++)
		assert_int_equal(world_health(s, FIRST + i).outcome[SN_R_REPORTED], 0);
	backend = connect_to(tcp, 9, SN_FLOW_ESTABLISHED);
	world_get(s->maps.sn_backends, backend, &other);
	other.incarnation++;
	world_put(s->maps.sn_backends, backend, &other);
	assert_int_equal(tell(9, 0, true), SN_TELL_STALE);
	assert_int_equal(world_health(s, backend).outcome[SN_R_REPORTED], 0);
}

static void end(uint64_t cookie)
{
	struct stage_call call = {.cookie = cookie};

	world_run(s->progs.t_end, &call);
	assert_int_equal(call.r, 1);
}

/* Applications report and close, and the daemon comes to read the one after the other. */
static void test_a_report_may_come_after_the_close(void **state)
{
	uint32_t backend = connect_to(tcp, 5, SN_FLOW_ESTABLISHED);

	end(5);
	assert_int_equal(tell(5, 1, true), SN_TELL_FOREIGN);
	assert_int_equal(tell(5, 0, true), SN_TELL_COUNTED);
	assert_int_equal(world_health(s, backend).outcome[SN_R_REPORTED], 1);
	assert_int_equal(tell(5 + WORLD_FLOWS, 0, true), SN_TELL_UNKNOWN);
	(void)connect_to(tcp, 5 + WORLD_FLOWS, SN_FLOW_ESTABLISHED);
	assert_int_equal(tell(5, 0, true), SN_TELL_UNKNOWN);
	end(5 + WORLD_FLOWS);
	assert_int_equal(tell(5, 0, true), SN_TELL_UNKNOWN);
	/* One that never was established has had its outcome. */
	(void)connect_to(tcp, 6, SN_FLOW_CONNECTING);
	end(6);
	assert_int_equal(tell(6, 0, true), SN_TELL_UNKNOWN);
}

static void test_a_datagram_socket_may_report_too(void **state)
{
	uint32_t backend = connect_to(udp, 5, SN_FLOW_UDP_CONNECTED);

	assert_int_equal(tell(5, 0, true), SN_TELL_COUNTED);
	assert_int_equal(world_health(s, backend).outcome[SN_R_REPORTED], 1);
}

/* One connection for each request: a connect that succeeds comes before each failure. */
static void test_five_failures_in_a_row_eject_though_each_had_connected(void **state)
{
	uint32_t backend = connect_to(tcp, 5, SN_FLOW_ESTABLISHED);
	struct sn_health health;

	for (int i = 0; i < 4; i++) {
		count_connect(backend);
		assert_int_equal(tell(5, 0, true), SN_TELL_COUNTED);
	}
	health = world_health(s, backend);
	assert_int_equal(health.ejected_until_ns, 0);
	assert_int_equal(health.told >> 32, 4);
	assert_int_equal(health.last_failure_ns, clock_ns);
	count_connect(backend);
	assert_int_equal(tell(5, 0, true), SN_TELL_COUNTED);
	health = world_health(s, backend);
	assert_in_range(health.ejected_until_ns, clock_ns + 30 * SECOND, clock_ns + 33 * SECOND);
	assert_int_equal(health.trip, SN_TRIP_CONSECUTIVE);
	assert_int_equal(health.outcome[SN_R_REPORTED], 5);
	assert_int_equal(health.told >> 32, 0);
}

static void test_a_reported_success_ends_the_row(void **state)
{
	uint32_t backend = connect_to(tcp, 5, SN_FLOW_ESTABLISHED);

	for (int i = 0; i < 12; i++)
		assert_int_equal(tell(5, 0, i % 4 != 3), SN_TELL_COUNTED);
	assert_int_equal(world_health(s, backend).outcome[SN_R_REPORTED], 9);
	assert_int_equal(world_health(s, backend).ejected_until_ns, 0);
}

/* Who reports failures only, one in a hundred, must not eject by and by. */
static void test_connections_without_a_report_end_the_row(void **state)
{
	uint32_t backend = connect_to(tcp, 5, SN_FLOW_ESTABLISHED);

	for (int i = 0; i < 20; i++) {
		for (int connects = 0; connects < 3; connects++)
			count_connect(backend);
		assert_int_equal(tell(5, 0, true), SN_TELL_COUNTED);
		clock_ns += SECOND;
	}
	assert_int_equal(world_health(s, backend).told >> 32, 1);
	assert_int_equal(world_health(s, backend).ejected_until_ns, 0);
}

static void test_a_reported_success_ends_half_open_and_is_no_sample_of_latency(void **state)
{
	uint32_t backend = connect_to(tcp, 5, SN_FLOW_ESTABLISHED);
	struct sn_latency latency;

	for (int i = 0; i < 5; i++)
		assert_int_equal(tell(5, 0, true), SN_TELL_COUNTED);
	assert_int_equal(tell(5, 0, false), SN_TELL_COUNTED);
	assert_int_not_equal(world_health(s, backend).ejected_until_ns, 0);
	clock_ns += 40 * SECOND;
	assert_int_equal(tell(5, 0, false), SN_TELL_COUNTED);
	assert_int_equal(world_health(s, backend).ejected_until_ns, 0);
	assert_int_equal(world_health(s, backend).ewma_us, 0);
	assert_int_equal(world_health(s, backend).outcome[SN_R_CONNECTED], 0);
	world_get(s->maps.sn_latency, backend, &latency);
	for (int i = 0; i < SN_LATENCY_BUCKETS; i++)
		assert_int_equal(latency.bucket[i], 0);
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void hold(uint32_t backend, enum sn_hold held, uint64_t until_ns)
{
	struct sn_health health = world_health(s, backend);

	health.held = held;
	health.held_until_ns = until_ns;
	world_put(s->maps.sn_health, backend, &health);
}

static int stale(uint64_t cookie)
{
	struct stage_call call = {.cookie = cookie};

	world_run(s->progs.t_stale, &call);
	return (int)call.r;
}

static int usable(uint32_t backend)
{
	struct stage_call call = {.backend = backend, .index = 1};

	world_run(s->progs.t_usable, &call);
	return (int)call.r;
}

static void test_datagram_sockets_leave_what_is_drained_until_its_time_is_over(void **state)
{
	uint32_t backend = connect_to(udp, 5, SN_FLOW_UDP_CONNECTED);

	assert_int_equal(stale(5), 0);
	assert_int_equal(usable(backend), 1);
	hold(backend, SN_HOLD_EJECT, SN_FOREVER);
	assert_int_equal(stale(5), 0);
	assert_int_equal(usable(backend), 1);
	hold(backend, SN_HOLD_DRAIN, SN_FOREVER);
	assert_int_equal(stale(5), 1);
	assert_int_equal(usable(backend), 0);
	hold(backend, SN_HOLD_DRAIN, monotonic_ns() + 3600 * SECOND);
	assert_int_equal(stale(5), 1);
	hold(backend, SN_HOLD_DRAIN, monotonic_ns());
	assert_int_equal(stale(5), 0);
	assert_int_equal(usable(backend), 1);
}

static void test_what_is_held_is_not_picked_until_its_time_is_over(void **state)
{
	struct stage_call call = {.dest = tcp, .cookie = 5, .state = SN_FLOW_PICKED};
	uint64_t cookie = 100;

	for (uint32_t i = 0; i + 1 < MEMBERS; i++)
		hold(FIRST + i, i % 2 ? SN_HOLD_DRAIN : SN_HOLD_EJECT, SN_FOREVER);
	for (int i = 0; i < 50; i++)
		assert_int_equal(connect_to(tcp, cookie++, SN_FLOW_PICKED), FIRST + MEMBERS - 1);
	hold(FIRST + MEMBERS - 1, SN_HOLD_EJECT, SN_FOREVER);
	world_run(s->progs.t_connect, &call);
	assert_int_equal(call.r, SN_R_NO_BACKEND);
	hold(FIRST, SN_HOLD_EJECT, monotonic_ns());
	assert_int_equal(connect_to(tcp, cookie++, SN_FLOW_PICKED), FIRST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_only_the_tellers_own_established_flows_are_believed,
				       begin_anew),
		cmocka_unit_test_setup(test_a_report_may_come_after_the_close, begin_anew),
		cmocka_unit_test_setup(test_a_datagram_socket_may_report_too, begin_anew),
		cmocka_unit_test_setup(test_five_failures_in_a_row_eject_though_each_had_connected,
				       begin_anew),
		cmocka_unit_test_setup(test_a_reported_success_ends_the_row, begin_anew),
		cmocka_unit_test_setup(test_connections_without_a_report_end_the_row, begin_anew),
		cmocka_unit_test_setup(
			test_a_reported_success_ends_half_open_and_is_no_sample_of_latency,
			begin_anew),
		cmocka_unit_test_setup(
			test_datagram_sockets_leave_what_is_drained_until_its_time_is_over,
			begin_anew),
		cmocka_unit_test_setup(test_what_is_held_is_not_picked_until_its_time_is_over,
				       begin_anew),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
