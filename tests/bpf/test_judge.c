/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a socket's error to a reason, from a time to a bucket, and what each outcome counts.
 * Pitfalls: P-24.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "bpf/world.h"

#define BACKEND 3u
#define PATIENCE_NS 3000000000ull

static struct stages *s;

static int open_world(void **state)
{
	s = world_open(NULL);
	return 0;
}

static int close_world(void **state)
{
	stages__destroy(s);
	return 0;
}

static uint32_t judge(int error, uint64_t age_ns)
{
	struct stage_call call = {.error = error, .ns = age_ns};

	world_run(s->progs.t_judge, &call);
	return (uint32_t)call.r;
}

static const struct {
	int error;
	enum sn_reason reason;
} told[] = {
	{ECONNREFUSED, SN_R_REFUSED},    {ECONNRESET, SN_R_REFUSED},
	{ETIMEDOUT, SN_R_TIMEOUT},       {EHOSTUNREACH, SN_R_UNREACHABLE},
	{ENETUNREACH, SN_R_UNREACHABLE}, {EHOSTDOWN, SN_R_UNREACHABLE},
	{ENOPROTOOPT, SN_R_UNREACHABLE}, {EPROTO, SN_R_UNREACHABLE},
	{EACCES, SN_R_UNREACHABLE},      {ENONET, SN_R_UNREACHABLE},
	{EOPNOTSUPP, SN_R_UNREACHABLE},
};

static enum sn_reason expected(int error)
{
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		if (told[i].error == error)
			return told[i].reason;
	return SN_R_ERROR;
}

/* Each error number that Linux has, young and old: only 0 looks at the age. */
static void test_every_errno_has_its_reason(void **state)
{
	for (int error = 1; error <= 133; error++) {
		assert_int_equal(judge(error, 0), expected(error));
		assert_int_equal(judge(error, 2 * PATIENCE_NS), expected(error));
	}
	assert_int_equal(judge(-1, 0), SN_R_ERROR);
	assert_int_equal(judge(512, 0), SN_R_ERROR);
}

static void test_p24_an_early_close_is_the_callers_a_late_one_a_timeout(void **state)
{
	assert_int_equal(judge(0, 0), SN_R_ABORTED);
	assert_int_equal(judge(0, 50000000), SN_R_ABORTED);
	assert_int_equal(judge(0, PATIENCE_NS - 1), SN_R_ABORTED);
	assert_int_equal(judge(0, PATIENCE_NS), SN_R_TIMEOUT);
	assert_int_equal(judge(0, ~0ull), SN_R_TIMEOUT);
}

static uint32_t bucket(uint64_t ns)
{
	struct stage_call call = {.ns = ns, .backend = BACKEND};

	world_run(s->progs.t_connected, &call);
	return (uint32_t)call.r;
}

/* Bucket i: [2^(i+8), 2^(i+9)) ns. */
static void test_buckets_begin_and_end_where_they_say(void **state)
{
	assert_int_equal(bucket(0), 0);
	assert_int_equal(bucket(1), 0);
	for (uint32_t i = 0; i < SN_LATENCY_BUCKETS; i++) {
		assert_int_equal(bucket(1ull << (i + SN_LATENCY_SHIFT)), i);
		assert_int_equal(bucket((1ull << (i + SN_LATENCY_SHIFT + 1)) - 1), i);
	}
	assert_int_equal(bucket(1ull << 50), SN_LATENCY_BUCKETS - 1);
	assert_int_equal(bucket(~0ull), SN_LATENCY_BUCKETS - 1);
}

static void test_a_connect_counts_once_everywhere(void **state)
{
	struct sn_latency latency;
	struct sn_health health;
	uint64_t sum = 0;

	world_reset(s);
	(void)bucket(1000);
	(void)bucket(3000000);
	health = world_health(s, BACKEND);
	world_get(s->maps.sn_latency, BACKEND, &latency);
	assert_int_equal(health.outcome[SN_R_CONNECTED], 2);
	assert_int_equal(health.connect_ns, 3001000);
	assert_int_equal(latency.bucket[1], 1); /* 512 .. 1023 ns */
	assert_int_equal(latency.bucket[13], 1);
	for (uint32_t i = 0; i < SN_LATENCY_BUCKETS; i++)
		sum += latency.bucket[i];
	assert_int_equal(sum, 2);
}

static void fail_with(enum sn_reason reason, uint64_t now)
{
	struct stage_call call = {.backend = BACKEND, .index = reason, .ns = now};

	world_run(s->progs.t_failed, &call);
}

static void test_only_the_backends_own_failures_are_held_against_it(void **state)
{
	static const enum sn_reason backends[] = {SN_R_REFUSED, SN_R_TIMEOUT, SN_R_UNREACHABLE,
						  SN_R_RESET};
	static const enum sn_reason others[] = {SN_R_ABORTED, SN_R_NOT_SENT, SN_R_ERROR};
	struct sn_health health;

	world_reset(s);
	for (size_t i = 0; i < 3; i++)
		fail_with(others[i], 70 + i);
	health = world_health(s, BACKEND);
	assert_int_equal(health.consecutive, 0);
	assert_int_equal(health.last_failure_ns, 0);
	for (size_t i = 0; i < 4; i++)
		fail_with(backends[i], 90 + i);
	health = world_health(s, BACKEND);
	assert_int_equal(health.consecutive, 4);
	assert_int_equal(health.last_failure_ns, 93);
	for (int reason = SN_R_REFUSED; reason < SN_R_REPORTED; reason++)
		assert_int_equal(health.outcome[reason], 1);
	(void)bucket(1000);
	assert_int_equal(world_health(s, BACKEND).consecutive, 0);
	assert_int_equal(world_health(s, BACKEND).last_failure_ns, 93);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_errno_has_its_reason),
		cmocka_unit_test(test_p24_an_early_close_is_the_callers_a_late_one_a_timeout),
		cmocka_unit_test(test_buckets_begin_and_end_where_they_say),
		cmocka_unit_test(test_a_connect_counts_once_everywhere),
		cmocka_unit_test(test_only_the_backends_own_failures_are_held_against_it),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
