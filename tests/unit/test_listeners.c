/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/listeners and daemon/cgroups: what the programs tell, what sweeps find and what the helper
 * names, in every order; and what is told of it. The map and the helper are this file's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "daemon/listeners.h"
#include "kernel/listener.h"
#include "kernel/read.h"

#define MAP 64

static struct {
	uint64_t cookie[MAP];
	struct sn_listener value[MAP];
	size_t n;
	uint64_t lost, full;
} map;

int listener_find(const struct kernel *k, uint64_t cookie, struct sn_listener *ret)
{
	for (size_t i = 0; i < map.n; i++)
		if (map.cookie[i] == cookie) {
			*ret = map.value[i];
			return 0;
		}
	return -ENOENT;
}

int listener_visit(const struct kernel *k,
		   void (*visit)(void *arg, uint64_t cookie, const struct sn_listener *l),
		   void *arg)
{
	for (size_t i = 0; i < map.n; i++)
		visit(arg, map.cookie[i], &map.value[i]);
	return 0;
}

void listener_forget(const struct kernel *k, uint64_t cookie)
{
	for (size_t i = 0; i < map.n; i++)
		if (map.cookie[i] == cookie) {
			map.n--;
			map.cookie[i] = map.cookie[map.n];
			map.value[i] = map.value[map.n];
		}
}

uint32_t listener_max(const struct kernel *k)
{
	return MAP;
}

uint64_t read_node_count(const struct kernel *k, unsigned int reason)
{
	return reason == SN_R_EVENT_LOST ? map.lost : map.full;
}

/* --- the world ---------------------------------------------------------------------------- */

static struct world {
	uv_loop_t loop;
	struct evict evict;
	int helper; /* the other end */
	struct listeners s;
	struct text_buffer told; /* "+8080 payments.service, -8080 ...": since it was looked at */
} w;

static void on_changed(void *arg, bool is_there, const struct listener *l)
{
	text_append_format(&w.told, "%s%c%u %s", w.told.n ? ", " : "", is_there ? '+' : '-',
			   l->port, l->cgroup->path ? l->cgroup->path : "?");
}

static void on_synced(void *arg)
{
	text_append_format(&w.told, "%ssynced", w.told.n ? ", " : "");
}

#define TOLD(words)                                                                                \
	do {                                                                                       \
		assert_string_equal(w.told.n ? w.told.data : "", words);                           \
		text_done(&w.told);                                                                \
		w.told = (struct text_buffer){};                                                   \
	} while (0)

static void begin(const char *served)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w.evict = (struct evict){.fd = pair[0]};
	w.helper = pair[1];
	w.s = (struct listeners){.evict = &w.evict,
				 .served = strdup(served),
				 .changed = on_changed,
				 .synced = on_synced,
				 .cgroups = {.mount = "/sys/fs/cgroup"}};
	assert_int_equal(listeners_start(&w.s, &w.loop), 0);
}

static int set_up(void **state)
{
	memset(&map, 0, sizeof(map));
	w = (struct world){.helper = -1};
	return uv_loop_init(&w.loop);
}

static int tear_down(void **state)
{
	listeners_done(&w.s);
	listeners_stop(&w.s);
	(void)uv_run(&w.loop, UV_RUN_DEFAULT);
	closep(&w.evict.fd);
	closep(&w.helper);
	text_done(&w.told);
	return uv_loop_close(&w.loop);
}

/* What the helper is asked now; verb 0: nothing. */
static struct evict_request asked(void)
{
	struct evict_request r = {};

	if (recv(w.helper, &r, sizeof(r), MSG_DONTWAIT) < 0)
		assert_int_equal(errno, EAGAIN);
	return r;
}

/* "5=/a.service" for the cgroup that it asks about next, "5": there is none. */
static void name(uint64_t id, const char *path)
{
	struct evict_request r = asked();
	struct evict_answer a = {.verb = EVICT_CGROUP, .subject = id, .r = path ? 0 : -ESTALE};

	assert_int_equal(r.verb, EVICT_CGROUP);
	assert_int_equal(r.cgroup_id, id);
	if (path)
		(void)snprintf(a.path, sizeof(a.path), "/sys/fs/cgroup%s", path);
	listeners_answer(&w.s, &a);
}

static void asks_nothing(void)
{
	assert_int_equal(asked().verb, 0);
}

static void put(uint64_t cookie, uint16_t port, uint64_t cgroup, uint64_t netns)
{
	map.cookie[map.n] = cookie;
	map.value[map.n++] = (struct sn_listener){
		.netns = netns, .cgroup_id = cgroup, .port_be = htons(port), .family = AF_INET};
}

static void event(uint16_t type, uint64_t cookie)
{
	listeners_event(&w.s, &(struct sn_event){.type = type, .cookie = cookie});
}

static void sweep_is_asked(bool full)
{
	struct evict_request r = asked();

	assert_int_equal(r.verb, EVICT_LISTENERS);
	assert_int_equal(r.streams, full);
}

/* What a sweep comes by in a namespace; netns 0: it is over, and n namespaces are kept. */
static void found(uint64_t netns, enum evict_part part, size_t n, const struct evict_found *all)
{
	struct evict_answer a = {.verb = EVICT_LISTENERS, .subject = netns, .part = part};

	*(part == EVICT_OVER ? &a.more : &a.n_found) = (uint32_t)n;
	if (all)
		memcpy(a.found, all, n * sizeof(*all));
	listeners_answer(&w.s, &a);
}

static void tick(void)
{
	w.s.timer.timer_cb(&w.s.timer);
}

/* The first sweep finds nobody, in no namespace. */
static void first_sweep(void)
{
	sweep_is_asked(true);
	found(0, EVICT_OVER, 0, NULL);
	TOLD("synced");
}

/* --- told by the programs ----------------------------------------------------------------- */

static void test_a_listener_is_shown_when_it_has_a_name(void **state)
{
	begin("");
	first_sweep();
	put(1, 8080, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	TOLD("");
	name(5, "/system.slice/pay.service");
	TOLD("+8080 /system.slice/pay.service");
	map.n = 0;
	event(SN_EVENT_UNLISTEN, 1);
	TOLD("-8080 /system.slice/pay.service");
}

static void test_a_second_one_of_the_cgroup_needs_no_question(void **state)
{
	begin("");
	first_sweep();
	put(1, 8080, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	name(5, "/a");
	put(2, 8080, 5, 7); /* SO_REUSEPORT */
	event(SN_EVENT_LISTEN, 2);
	asks_nothing();
	TOLD("+8080 /a, +8080 /a");
	listener_forget(NULL, 1);
	event(SN_EVENT_UNLISTEN, 1);
	TOLD("-8080 /a");
}

static void test_one_that_ends_before_it_has_a_name_was_never_there(void **state)
{
	begin("");
	first_sweep();
	put(1, 8080, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	map.n = 0;
	event(SN_EVENT_UNLISTEN, 1);
	name(5, "/a");
	TOLD("");
	event(SN_EVENT_LISTEN, 9); /* it ended before the event was read */
	event(SN_EVENT_UNLISTEN, 9);
	asks_nothing();
	TOLD("");
}

static void test_a_cgroup_that_is_gone_is_no_reason_to_hide_it(void **state)
{
	begin("/served");
	first_sweep();
	put(1, 8080, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	name(5, NULL);
	TOLD("+8080 ?");
}

static void test_the_same_socket_elsewhere_is_another_listener(void **state)
{
	begin("");
	first_sweep();
	put(1, 8080, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	name(5, "/a");
	TOLD("+8080 /a");
	map.value[0].port_be = htons(9090);
	event(SN_EVENT_LISTEN, 1);
	TOLD("-8080 /a, +9090 /a");
	event(SN_EVENT_LISTEN, 1);
	TOLD("");
}

static void test_what_the_map_has_at_the_start_is_known(void **state)
{
	put(1, 8080, 5, 7);
	begin("");
	name(5, "/a");
	TOLD("+8080 /a");
	assert_false(w.s.is_synced);
	first_sweep();
}

/* A record that found the ring full: the map says the same. */
static void test_lost_records_are_made_good_by_the_map(void **state)
{
	put(1, 80, 5, 7);
	begin("");
	name(5, "/a");
	TOLD("+80 /a");
	first_sweep();
	map.n = 0;
	put(2, 81, 5, 7);
	tick();
	TOLD("");
	map.lost = 3;
	tick();
	TOLD("-80 /a, +81 /a");
	event(SN_EVENT_UNLISTEN, 2); /* late, and it listens still */
	TOLD("");
}

/* --- found by sweeps ---------------------------------------------------------------------- */

static void test_who_listened_before_is_found_and_its_end_is_seen(void **state)
{
	const struct evict_found one = {.cookie = 3, .cgroup_id = 5, .port = 22};

	begin("");
	sweep_is_asked(true);
	found(7, EVICT_NAMESPACE, 1, &one);
	name(5, "/a");
	found(0, EVICT_OVER, 1, NULL);
	TOLD("+22 /a, synced");
	tick();
	sweep_is_asked(false);
	found(7, EVICT_NAMESPACE, 1, &one);
	found(0, EVICT_OVER, 1, NULL);
	TOLD("");
	tick();
	sweep_is_asked(false);
	found(8, EVICT_NAMESPACE, 0, NULL); /* another namespace says nothing about it */
	TOLD("");
	found(7, EVICT_NAMESPACE, 0, NULL);
	found(0, EVICT_OVER, 0, NULL);
	TOLD("-22 /a");
	tick();
	asks_nothing(); /* nobody is left whose end only a sweep would see, and nothing is kept */
}

static void test_only_the_served_cgroups_are_shown(void **state)
{
	const struct evict_found some[] = {{.cookie = 1, .cgroup_id = 5, .port = 1},
					   {.cookie = 2, .cgroup_id = 6, .port = 2},
					   {.cookie = 3, .cgroup_id = 7, .port = 3},
					   {.cookie = 4, .cgroup_id = 8, .port = 4}};

	begin("/served");
	sweep_is_asked(true);
	found(7, EVICT_NAMESPACE, 4, some);
	name(5, "/served");
	name(6, "/served/below");
	name(7, "/servedtoo");
	name(8, NULL);
	found(0, EVICT_OVER, 0, NULL);
	TOLD("+1 /served, +2 /served/below, synced");
}

static void test_an_end_in_the_middle_of_a_sweep_is_told_once(void **state)
{
	const struct evict_found told = {.cookie = 1, .cgroup_id = 5, .port = 80, .told = 1};

	put(1, 80, 5, 7);
	begin("");
	name(5, "/a");
	TOLD("+80 /a");
	sweep_is_asked(true);
	map.n = 0;
	event(SN_EVENT_UNLISTEN, 1);
	found(7, EVICT_NAMESPACE, 1, &told); /* it was there when the sweep came by */
	found(0, EVICT_OVER, 0, NULL);
	TOLD("-80 /a, synced");
}

static void test_who_begins_during_a_sweep_is_not_taken_for_gone(void **state)
{
	begin("");
	sweep_is_asked(true);
	put(1, 80, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	name(5, "/a");
	found(7, EVICT_NAMESPACE, 0, NULL); /* it had come by before */
	found(0, EVICT_OVER, 0, NULL);
	TOLD("+80 /a, synced");
}

/* A sweep sees it between listen() and its record; the record makes it one of the programs'. */
static void test_found_first_and_told_later_is_one(void **state)
{
	const struct evict_found one = {.cookie = 1, .cgroup_id = 5, .port = 80};

	begin("");
	sweep_is_asked(true);
	found(7, EVICT_NAMESPACE, 1, &one);
	name(5, "/a");
	put(1, 80, 5, 7);
	event(SN_EVENT_LISTEN, 1);
	found(0, EVICT_OVER, 0, NULL);
	TOLD("+80 /a, synced");
	assert_int_equal(listeners_count(&w.s), 1);
	tick();
	asks_nothing();
}

/* What was shut down, or ended while no program was attached. */
static void test_an_end_that_no_program_saw_is_seen_by_a_look_at_all(void **state)
{
	put(1, 80, 5, 7);
	begin("");
	TOLD("");
	name(5, "/a");
	sweep_is_asked(true);
	found(0, EVICT_OVER, 0, NULL); /* its namespace was not come by */
	TOLD("+80 /a, synced");
	listeners_look(&w.s);
	tick();
	sweep_is_asked(true);
	found(7, EVICT_NAMESPACE, 0, NULL);
	TOLD("-80 /a");
	assert_int_equal(map.n, 0);
}

/* --- without a helper --------------------------------------------------------------------- */

static void test_without_a_helper_the_programs_word_is_all(void **state)
{
	put(1, 80, 5, 7);
	begin("");
	closep(&w.evict.fd);
	w.evict.fd = -1;
	listeners_lost(&w.s);
	TOLD("+80 ?, synced");
	put(2, 81, 6, 7);
	event(SN_EVENT_LISTEN, 2);
	TOLD("+81 ?");
	map.n = 0;
	event(SN_EVENT_UNLISTEN, 2);
	TOLD("-81 ?");
	tick();
	TOLD("");
}

static void test_a_helper_that_ends_takes_what_only_it_would_see_end(void **state)
{
	const struct evict_found one = {.cookie = 3, .cgroup_id = 5, .port = 22};

	begin("");
	sweep_is_asked(true);
	found(7, EVICT_NAMESPACE, 1, &one);
	name(5, "/a");
	TOLD("+22 /a");
	listeners_lost(&w.s);
	TOLD("-22 /a, synced");
}

/* --- cgroups ------------------------------------------------------------------------------ */

static void test_identity_is_from_the_served_cgroup_on(void **state)
{
	const struct cgroup_name *n;

	begin("/odd.name/served");
	first_sweep();
	assert_null(cgroups_look(&w.s.cgroups, 5));
	name(5, "/odd.name/served/pay.service/sub");
	n = cgroups_look(&w.s.cgroups, 5);
	assert_string_equal(n->path, "/odd.name/served/pay.service/sub");
	assert_string_equal(n->identity.unit, "pay.service");
	assert_null(cgroups_look(&w.s.cgroups, 6));
	name(6, "/odd.name/pay.service");
	assert_string_equal(cgroups_look(&w.s.cgroups, 6)->identity.unit, "");
	assert_null(cgroups_look(&w.s.cgroups, 0));
	asks_nothing();
}

static void test_one_question_at_a_time_and_none_twice(void **state)
{
	begin("");
	first_sweep();
	for (uint64_t id = 1; id <= 3; id++)
		for (int i = 0; i < 2; i++)
			assert_null(cgroups_look(&w.s.cgroups, id));
	name(1, "/a");
	name(2, NULL);
	name(3, "/c");
	asks_nothing();
	assert_non_null(cgroups_look(&w.s.cgroups, 1));
	assert_non_null(cgroups_look(&w.s.cgroups, 3));
	asks_nothing();
	assert_null(cgroups_look(&w.s.cgroups, 2)); /* what had no name is asked for anew */
	name(2, "/b");
	assert_non_null(cgroups_look(&w.s.cgroups, 2));
}

static void test_p50_ten_thousand_cgroups_stay_within_bounds(void **state)
{
	char path[32];

	begin("");
	first_sweep();
	for (uint64_t id = 1; id <= 10000; id++) {
		(void)snprintf(path, sizeof(path), "/g%llu", (unsigned long long)id);
		(void)cgroups_look(&w.s.cgroups, id);
		name(id, path);
		assert_true(HASH_COUNT(w.s.cgroups.all) <= LIMIT_CGROUPS);
	}
	assert_string_equal(cgroups_look(&w.s.cgroups, 10000)->path, "/g10000");
	assert_null(cgroups_look(&w.s.cgroups, 1)); /* the one used longest ago has left */
	name(1, "/g1");
}

static void test_a_path_of_another_mount_is_none(void **state)
{
	struct evict_answer a = {.verb = EVICT_CGROUP, .subject = 5, .path = "/sys/fs/cgroups/a"};

	begin("");
	first_sweep();
	assert_null(cgroups_look(&w.s.cgroups, 5));
	(void)asked();
	listeners_answer(&w.s, &a);
	assert_null(cgroups_look(&w.s.cgroups, 5));
}

/* --- limits ------------------------------------------------------------------------------- */

static void test_one_too_many_is_counted_and_not_shown(void **state)
{
	begin("");
	sweep_is_asked(true);
	for (uint64_t i = 1; i <= LIMIT_LISTENERS + 10; i++) {
		const struct evict_found one = {.cookie = i, .cgroup_id = 5, .port = 22};

		found(7, EVICT_MORE, 1, &one);
	}
	assert_int_equal(w.s.dropped, 10);
	found(7, EVICT_NAMESPACE, 0, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_listener_is_shown_when_it_has_a_name),
		TEST(test_a_second_one_of_the_cgroup_needs_no_question),
		TEST(test_one_that_ends_before_it_has_a_name_was_never_there),
		TEST(test_a_cgroup_that_is_gone_is_no_reason_to_hide_it),
		TEST(test_the_same_socket_elsewhere_is_another_listener),
		TEST(test_what_the_map_has_at_the_start_is_known),
		TEST(test_lost_records_are_made_good_by_the_map),
		TEST(test_who_listened_before_is_found_and_its_end_is_seen),
		TEST(test_only_the_served_cgroups_are_shown),
		TEST(test_an_end_in_the_middle_of_a_sweep_is_told_once),
		TEST(test_who_begins_during_a_sweep_is_not_taken_for_gone),
		TEST(test_found_first_and_told_later_is_one),
		TEST(test_an_end_that_no_program_saw_is_seen_by_a_look_at_all),
		TEST(test_without_a_helper_the_programs_word_is_all),
		TEST(test_a_helper_that_ends_takes_what_only_it_would_see_end),
		TEST(test_identity_is_from_the_served_cgroup_on),
		TEST(test_one_question_at_a_time_and_none_twice),
		TEST(test_p50_ten_thousand_cgroups_stay_within_bounds),
		TEST(test_a_path_of_another_mount_is_none),
		TEST(test_one_too_many_is_counted_and_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
