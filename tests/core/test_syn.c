/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of connects that went on: an entry outlives its socket as long as a late packet may
 * come, and no longer; a bucket that is full takes nobody's entry away. Care of failover: F-2.
 */
#include "core/world.h"

#include "stage/enlist.h"

#define PORT bpf_htons(40000)
#define MSL (60 * SECOND)

static const struct sn_addr client = {.word_be = {1, 2, 3, 4}};
static const struct sn_addr peer = {.word_be = {5, 6, 7, 8}};

static int begin(void **state)
{
	world_begin(1);
	core_resize(core_of(&sn_syns), (sn_syn_mask + 1) * SN_SYN_WAYS);
	*sn_moved_count() = 0;
	return 0;
}

static int claim(uint64_t cookie)
{
	struct sn_flow flow = {.cookie = cookie,
			       .peer = peer,
			       .peer_port_be = bpf_htons(8080),
			       .backend = WORLD_FIRST,
			       .incarnation = 1};

	*sn_flow_at(cookie) = flow;
	return sn_syn_claim(&flow, WORLD_SERVICE, &client, PORT, core.now);
}

static struct sn_syn *find(void)
{
	__u32 at = sn_syn_find(&client, &peer, PORT | (__u32)bpf_htons(8080) << 16, SN_MATCH_FIRST);

	return at ? sn_syn_at(at - 1) : NULL;
}

/* It went on once, as failover writes it; `state`: SN_SYN_ANSWERED when that backend has answered.
 */
static void move(struct sn_syn *syn, __u8 state)
{
	syn->moves = 1;
	sn_moved_add(1);
	sn_syn_show(syn, syn->now_port_be, state, core.now);
}

static void test_an_entry_that_did_not_move_goes_with_its_socket(void **state)
{
	assert_int_equal(claim(7), 1);
	assert_non_null(find());
	assert_int_equal(sn_syn_end(&client, PORT, 7, core.now), 1);
	assert_null(find());
	assert_int_equal(*sn_moved_count(), 0);
}

/* Nobody will send anything late. */
static void test_one_that_moved_in_vain_goes_with_its_socket(void **state)
{
	assert_int_equal(claim(7), 1);
	move(find(), SN_SYN_MOVED);
	assert_int_equal(*sn_moved_count(), 1);
	assert_int_equal(sn_syn_end(&client, PORT, 7, core.now), 1);
	assert_null(find());
	assert_int_equal(*sn_moved_count(), 0);
}

static void test_one_that_moved_translates_until_two_msl_after_the_close(void **state)
{
	assert_int_equal(claim(7), 1);
	move(find(), SN_SYN_ANSWERED);
	assert_int_equal(sn_syn_end(&client, PORT, 7, core.now), 1);
	assert_non_null(find());
	for (uint64_t cookie = 8; cookie < 8 + SN_SYN_WAYS - 1; cookie++)
		assert_int_equal(claim(cookie), 1);
	core.now += 2 * MSL - 1;
	assert_int_equal(claim(20), 0);
	assert_int_equal(*sn_moved_count(), 1);
	core.now += 1;
	assert_int_equal(claim(20), 1);
	assert_int_equal(*sn_moved_count(), 0);
}

static void test_a_new_connection_between_the_same_ends_ends_the_wait(void **state)
{
	assert_int_equal(claim(7), 1);
	move(find(), SN_SYN_ANSWERED);
	assert_int_equal(sn_syn_end(&client, PORT, 7, core.now), 1);
	assert_int_equal(sn_syn_forget(&client, &peer, PORT | (__u32)bpf_htons(8080) << 16), 1);
	assert_null(find());
	assert_int_equal(*sn_moved_count(), 0);
}

static void test_a_full_bucket_is_counted_and_takes_nobodys_entry(void **state)
{
	uint64_t full = *sn_counter_at(SN_R_SYN_FULL - SN_R_SERVICE_MAX);

	for (uint64_t cookie = 1; cookie <= SN_SYN_WAYS; cookie++)
		assert_int_equal(claim(cookie), 1);
	assert_int_equal(claim(20), 0);
	assert_int_equal(*sn_counter_at(SN_R_SYN_FULL - SN_R_SERVICE_MAX), full + 1);
	for (uint64_t cookie = 1; cookie <= SN_SYN_WAYS; cookie++)
		assert_int_equal(sn_syn_end(&client, PORT, cookie, core.now), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_an_entry_that_did_not_move_goes_with_its_socket, begin),
		cmocka_unit_test_setup(test_one_that_moved_in_vain_goes_with_its_socket, begin),
		cmocka_unit_test_setup(test_one_that_moved_translates_until_two_msl_after_the_close,
				       begin),
		cmocka_unit_test_setup(test_a_new_connection_between_the_same_ends_ends_the_wait,
				       begin),
		cmocka_unit_test_setup(test_a_full_bucket_is_counted_and_takes_nobodys_entry,
				       begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
