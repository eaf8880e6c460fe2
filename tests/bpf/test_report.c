/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event ring: what a record says, and that each one which found it full is counted.
 * Pitfalls: P-74.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sinew/event.h>
#include <string.h>
#include <time.h>

#include "bpf/world.h"

static struct stages *s;
static struct ring_buffer *ring;
static struct sn_event last;
static uint32_t seen;

static int on_event(void *ctx, void *data, size_t size)
{
	assert_int_equal(size, sizeof(last));
	memcpy(&last, data, sizeof(last));
	seen++;
	return 0;
}

static int open_world(void **state)
{
	s = world_open(NULL);
	ring = ring_buffer__new(bpf_map__fd(s->maps.sn_events), on_event, NULL, NULL);
	assert_non_null(ring);
	return 0;
}

static int close_world(void **state)
{
	ring_buffer__free(ring);
	stages__destroy(s);
	return 0;
}

static void report(uint32_t repeat)
{
	struct stage_call call = {.index = WORLD_SERVICE, .repeat = repeat};

	call.dest = world_dest("10.96.0.10", 80, SN_PROTO_TCP);
	world_run(s->progs.t_report, &call);
	assert_int_equal(call.r, repeat);
}

static uint32_t drain(void)
{
	seen = 0;
	assert_true(ring_buffer__consume(ring) >= 0);
	return seen;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void test_a_refusal_says_what_was_asked(void **state)
{
	struct sn_frontend dest = world_dest("10.96.0.10", 80, SN_PROTO_TCP);
	uint64_t before = now_ns();

	report(1);
	assert_int_equal(drain(), 1);
	assert_int_equal(last.type, SN_EVENT_REFUSED);
	assert_int_equal(last.reason, SN_R_NO_BACKEND);
	assert_int_equal(last.service, WORLD_SERVICE);
	assert_int_equal(last.proto, SN_PROTO_TCP);
	assert_int_equal(last.orig_port_be, dest.port_be);
	assert_memory_equal(&last.orig, &dest.addr, sizeof(dest.addr));
	assert_in_range(last.time_ns, before, now_ns());
	assert_int_equal(last.backend, SN_NONE);
	assert_int_equal(last.trip, 0);
}

static void test_a_failed_connect_says_who_failed_it(void **state)
{
	struct stage_call call = {.cookie = 77, .state = SN_FLOW_CONNECTING};

	call.dest = world_dest("10.96.0.10", 80, SN_PROTO_TCP);
	world_service(s, WORLD_SERVICE, &call.dest, WORLD_SET);
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, 8}, (const uint32_t[]){1}, 1);
	world_run(s->progs.t_connect, &call);
	call.ns = 5000000;
	world_run(s->progs.t_state, &call);
	call.error = 111; /* ECONNREFUSED */
	world_run(s->progs.t_end, &call);
	assert_int_equal(drain(), 1);
	assert_int_equal(last.type, SN_EVENT_OUTCOME);
	assert_int_equal(last.reason, SN_R_REFUSED);
	assert_int_equal(last.cookie, 77);
	assert_int_equal(last.backend, 8);
	assert_int_equal(last.incarnation, 1);
	assert_int_equal(last.proto, SN_PROTO_TCP);
	assert_memory_equal(&last.orig, &call.dest.addr, sizeof(last.orig));
	assert_true(last.latency_ns >= 5000000);
}

/* Its slot still says when the last one's SYN was sent. */
static void test_a_connect_without_a_syn_took_no_time(void **state)
{
	struct stage_call call = {.cookie = 78, .state = SN_FLOW_CONNECTING};

	call.dest = world_dest("10.96.0.10", 80, SN_PROTO_TCP);
	world_run(s->progs.t_connect, &call);
	call.ns = 5000000;
	world_run(s->progs.t_state, &call);
	world_run(s->progs.t_end, &call);
	call.state = SN_FLOW_PICKED;
	world_run(s->progs.t_connect, &call);
	world_run(s->progs.t_end, &call);
	assert_int_equal(drain(), 2);
	assert_int_equal(last.reason, SN_R_NOT_SENT);
	assert_int_equal(last.latency_ns, 0);
}

static void test_p74_every_record_that_finds_the_ring_full_is_counted(void **state)
{
	uint64_t before = world_node_count(s, SN_R_EVENT_LOST), lost;
	uint32_t got;

	report(10000);
	lost = world_node_count(s, SN_R_EVENT_LOST) - before;
	got = drain();
	assert_true(got > 0);
	assert_true(lost > 0);
	assert_int_equal(got + lost, 10000);
	/* Empty again: nothing more is lost. */
	report(10);
	assert_int_equal(drain(), 10);
	assert_int_equal(world_node_count(s, SN_R_EVENT_LOST) - before, lost);
}

static void test_p74_counters_do_not_depend_on_events(void **state)
{
	struct stage_call call = {.dest = world_dest("10.96.0.11", 80, SN_PROTO_TCP)};

	world_service(s, WORLD_SERVICE + 1, &call.dest, WORLD_SET + 50);
	world_set(s, (struct world_extent){WORLD_SERVICE + 1, WORLD_SET + 50, 9}, NULL, 0);
	report(1000); /* fills the ring */
	for (int i = 0; i < 100; i++)
		world_run(s->progs.t_connect, &call);
	assert_int_equal(world_service_count(s, WORLD_SERVICE + 1, SN_R_NO_BACKEND), 100);
	(void)drain();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refusal_says_what_was_asked),
		cmocka_unit_test(test_a_failed_connect_says_who_failed_it),
		cmocka_unit_test(test_a_connect_without_a_syn_took_no_time),
		cmocka_unit_test(test_p74_every_record_that_finds_the_ring_full_is_counted),
		cmocka_unit_test(test_p74_counters_do_not_depend_on_events),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
