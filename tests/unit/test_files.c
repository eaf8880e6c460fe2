/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/files: a folder of manifests as a registry, on a real loop and a real file system.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "registry/files_folder.h"
#include "registry/registry.h"
#include "unit/folder.h"

#define SECOND 1000u

/* What the host has heard; all objects of the last snapshot and the words since, as one line. */
static struct {
	uv_loop_t loop;
	struct registry *r;
	struct registry_config config;
	struct registry_host host;
	unsigned int snapshots, upserts, removes, statuses;
	char line[2000]; /* "shop/pay=10.0.0.1 shop/cart=": services of the last snapshot */
	char all[20000]; /* every line there was */
	char source[128], zone[64];
	char loud[220]; /* of the last error */
	bool stopped;
} h;

static char folder[256];

static void append(char *line, size_t size, const char *text)
{
	size_t n = strlen(line);

	(void)snprintf(line + n, size - n, "%s", text);
}

static void describe(const struct service *s)
{
	char text[300], address[ADDRESS_TEXT] = "";

	if (s->n_endpoints)
		(void)address_format(&s->endpoints[0].addr, address);
	(void)snprintf(text, sizeof(text), "%s/%s=%s ", s->namespace, s->name, address);
	append(h.line, sizeof(h.line), text);
	(void)snprintf(h.source, sizeof(h.source), "%s", s->source);
	(void)snprintf(h.zone, sizeof(h.zone), "%s", s->n_zones ? s->zones[0] : "");
}

static void on_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	h.snapshots++;
	*h.line = '\0';
	for (size_t i = 0; i < n; i++) {
		if (objects[i].kind == OBJECT_SERVICE)
			describe(objects[i].service);
		else
			append(h.line, sizeof(h.line), "policy ");
	}
	append(h.all, sizeof(h.all), h.line);
	append(h.all, sizeof(h.all), "\n");
	(void)object_free_list(objects, n);
}

static void on_upsert(void *arg, struct registry *r, struct object *o)
{
	h.upserts++;
	if (o->kind == OBJECT_SERVICE)
		describe(o->service);
	object_done(o);
}

static void on_remove(void *arg, struct registry *r, enum object_kind kind, const char *namespace,
		      const char *name)
{
	h.removes++;
}

static void on_status(void *arg, struct registry *r)
{
	h.statuses++;
	if (r->status.error != REGISTRY_OK)
		(void)snprintf(h.loud, sizeof(h.loud), "%s: %s",
			       registry_error_name(r->status.error), r->status.text);
}

static void on_tick(uv_timer_t *timer)
{
}

/* Runs the loop until that is so; false after `ms`. */
#define EVENTUALLY(ms, condition)                                                                  \
	({                                                                                         \
		uint64_t end_ = uv_hrtime() + (ms)*1000000ull;                                     \
		while (!(condition) && uv_hrtime() < end_)                                         \
			turn();                                                                    \
		(condition);                                                                       \
	})

static void turn(void)
{
	uv_timer_t tick;

	(void)uv_timer_init(&h.loop, &tick);
	(void)uv_timer_start(&tick, on_tick, 5, 0);
	(void)uv_run(&h.loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	(void)uv_run(&h.loop, UV_RUN_NOWAIT);
}

static void pass(unsigned int ms)
{
	(void)EVENTUALLY(ms, false);
}

static bool shows(const char *line)
{
	return !strcmp(h.line, line);
}

static int set_up(void **state)
{
	memset(&h, 0, sizeof(h));
	(void)snprintf(folder, sizeof(folder), "%s", folder_make());
	assert_int_equal(uv_loop_init(&h.loop), 0);
	h.config = (struct registry_config){
		.name = (char *)"f", .type = (char *)"files", .path = folder, .stale_ms = 60000};
	h.host = (struct registry_host){.loop = &h.loop,
					.snapshot = on_snapshot,
					.upsert = on_upsert,
					.remove = on_remove,
					.status = on_status};
	return 0;
}

static void on_stopped(void *arg, struct registry *r)
{
	h.stopped = true;
}

static void stop(void)
{
	registry_close(h.r, on_stopped, NULL);
	assert_true(EVENTUALLY(5 * SECOND, h.stopped));
	h.r = NULL;
}

static int tear_down(void **state)
{
	if (h.r)
		stop();
	while (uv_run(&h.loop, UV_RUN_NOWAIT))
		;
	if (uv_loop_close(&h.loop) < 0)
		return -1;
	folder_remove(folder);
	return 0;
}

static void start(void)
{
	char text[200];

	assert_int_equal(registry_open(&h.config, &h.host, NULL, &h.r, text), 0);
}

static const char *service(const char *name, unsigned int number)
{
	static char text[2][400];
	static unsigned int next;
	char *at = text[next++ % 2];

	(void)snprintf(
		at, sizeof(text[0]),
		"apiVersion: sinew/v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\n"
		"spec:\n  ports: [{port: 80}]\n  endpoints: [{address: 10.0.0.%u, port: 80}]\n",
		name, number);
	return at;
}

/* As most editors do: another file takes the name. */
static void replace(const char *in, const char *name, const char *text)
{
	folder_write(in, ".new.swp", text);
	assert_int_equal(rename(folder_path(in, ".new.swp"), folder_path(in, name)), 0);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_a_folder_is_said_as_one_snapshot(void **state)
{
	folder_write(folder, "b.yaml", service("pay", 1));
	folder_write(folder, "a.yml", service("cart", 2));
	folder_write(folder, "c.json",
		     "{\"apiVersion\": \"sinew/v1\", \"kind\": \"TrafficPolicy\", \"metadata\": "
		     "{\"name\": \"p\"}, \"spec\": {}}");
	folder_write(folder, "notes.txt", "no manifest");
	folder_write(folder, ".hidden.yaml", "{");
	h.config.zone = (char *)"z1";
	start();
	assert_true(EVENTUALLY(5 * SECOND, h.snapshots));
	assert_string_equal(h.line, "shop/cart=10.0.0.2 shop/pay=10.0.0.1 policy ");
	assert_string_equal(h.source, "files/f");
	assert_string_equal(h.zone, "z1");
	assert_int_equal(h.snapshots, 1);
	assert_int_equal(h.r->status.state, REGISTRY_SYNCED);
	assert_true(h.r->status.contact_ms && h.r->status.latency_us);
}

static void test_files_that_come_change_and_go_are_seen_at_once(void **state)
{
	uint64_t began;

	folder_write(folder, "a.yaml", service("cart", 1));
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.1 ")));
	began = uv_hrtime();
	folder_write(folder, "b.yaml", service("pay", 2));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.1 shop/pay=10.0.0.2 ")));
	print_message("from written to said: %u ms\n",
		      (unsigned int)((uv_hrtime() - began) / 1000000));
	folder_write(folder, "b.yaml", service("pay", 3));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.1 shop/pay=10.0.0.3 ")));
	replace(folder, "b.yaml", service("pay", 4));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.1 shop/pay=10.0.0.4 ")));
	assert_int_equal(unlink(folder_path(folder, "a.yaml")), 0);
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.4 ")));
	assert_int_equal(rename(folder_path(folder, "b.yaml"), folder_path(folder, "b.off")), 0);
	assert_true(EVENTUALLY(5 * SECOND, shows("")));
}

/* Some editors move the old file away before they write the new one. */
static void test_a_file_that_is_away_for_a_moment_is_not_gone(void **state)
{
	uint64_t longest = 0;

	folder_write(folder, "a.yaml", service("pay", 1));
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	for (unsigned int i = 2; i < 12; i++) {
		uint64_t began = uv_hrtime(), away;
		char line[64];

		assert_int_equal(
			rename(folder_path(folder, "a.yaml"), folder_path(folder, "a.yaml~")), 0);
		pass(20 + i * 2); /* about when it is looked at */
		folder_write(folder, "a.yaml", service("pay", i));
		away = (uv_hrtime() - began) / 1000000;
		longest = away > longest ? away : longest;
		(void)snprintf(line, sizeof(line), "shop/pay=10.0.0.%u ", i);
		assert_true(EVENTUALLY(5 * SECOND, shows(line)));
	}
	if (longest < 60) /* on a machine that stood still it was gone for two looks */
		assert_null(strstr(h.all, "\n\n"));
}

/* As Kubernetes does: files are links through ..data, and ..data is what is swapped. */
static void point_data_at(const char *version)
{
	assert_int_equal(symlink(version, folder_path(folder, "..data_tmp")), 0);
	assert_int_equal(rename(folder_path(folder, "..data_tmp"), folder_path(folder, "..data")),
			 0);
}

static void test_p88_a_swap_of_the_data_link_is_seen(void **state)
{
	assert_int_equal(mkdir(folder_path(folder, "..v1"), 0755), 0);
	assert_int_equal(mkdir(folder_path(folder, "..v2"), 0755), 0);
	folder_write(folder_path(folder, "..v1"), "a.yaml", service("pay", 1));
	folder_write(folder_path(folder, "..v2"), "a.yaml", service("pay", 2));
	point_data_at("..v1");
	assert_int_equal(symlink("..data/a.yaml", folder_path(folder, "a.yaml")), 0);
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	point_data_at("..v2");
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.2 ")));
	/* A key that goes leaves a link to nothing for a moment: no reason to forget. */
	assert_int_equal(unlink(folder_path(folder_path(folder, "..v2"), "a.yaml")), 0);
	replace(folder, "other.yaml", service("cart", 3));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.3 shop/pay=10.0.0.2 ")));
	assert_int_equal(unlink(folder_path(folder, "a.yaml")), 0);
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.3 ")));
}

static void test_p88_a_folder_that_is_a_link_itself_is_followed(void **state)
{
	char path[300];

	assert_int_equal(mkdir(folder_path(folder, "..v1"), 0755), 0);
	assert_int_equal(mkdir(folder_path(folder, "..v2"), 0755), 0);
	folder_write(folder_path(folder, "..v1"), "a.yaml", service("pay", 1));
	folder_write(folder_path(folder, "..v2"), "a.yaml", service("pay", 2));
	point_data_at("..v1");
	(void)snprintf(path, sizeof(path), "%s/services/", folder);
	assert_int_equal(symlink("..data", folder_path(folder, "services")), 0);
	h.config.path = path;
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	point_data_at("..v2");
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.2 ")));
	/* The watch is on the new one. */
	replace(folder_path(folder, "..v2"), "a.yaml", service("pay", 3));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.3 ")));
}

/* A file elsewhere stands for a bind mount or a network's file: inotify tells nothing of it. */
static void test_p88_what_inotify_does_not_tell_is_found_later(void **state)
{
	assert_int_equal(mkdir(folder_path(folder, "in"), 0755), 0);
	folder_write(folder, "elsewhere", service("pay", 1));
	assert_int_equal(symlink("../elsewhere", folder_path(folder_path(folder, "in"), "a.yaml")),
			 0);
	h.config.path = (char *)folder_path(folder, "in");
	h.config.interval_ms = 1000;
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	folder_write(folder, "elsewhere", service("pay", 2));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.2 ")));
}

static void test_half_a_file_is_never_believed(void **state)
{
	_cleanup_close_ int fd = -1;
	const char *cart = service("cart", 1), *pay = service("pay", 2);

	folder_write(folder, "a.yaml", service("old", 9));
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/old=10.0.0.9 ")));
	fd = open(folder_path(folder, "a.yaml"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	cart = service("cart", 1);
	pay = service("pay", 2);
	assert_true(write(fd, cart, strlen(cart)) > 0);
	pass(300); /* a whole manifest so far, but somebody is not done with it */
	assert_true(shows("shop/old=10.0.0.9 "));
	assert_true(write(fd, "---\n", 4) > 0);
	assert_true(write(fd, pay, strlen(pay)) > 0);
	pass(100);
	assert_true(shows("shop/old=10.0.0.9 "));
	assert_int_equal(close(TAKE_FD(fd)), 0);
	assert_true(EVENTUALLY(SECOND, shows("shop/cart=10.0.0.1 shop/pay=10.0.0.2 ")));
	assert_string_equal(h.all, "shop/old=10.0.0.9 \nshop/cart=10.0.0.1 shop/pay=10.0.0.2 \n");
}

static void test_a_file_with_an_error_keeps_its_last_word(void **state)
{
	folder_write(folder, "a.yaml", service("cart", 1));
	folder_write(folder, "b.yaml", service("pay", 2));
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.1 shop/pay=10.0.0.2 ")));
	replace(folder, "b.yaml",
		"apiVersion: sinew/v1\nkind: Sevice\nmetadata: {name: x}\nspec: {}\n");
	assert_true(EVENTUALLY(5 * SECOND, *h.loud));
	assert_non_null(strstr(h.loud, "garbage: "));
	assert_non_null(strstr(h.loud, "/b.yaml:2:7: "));
	assert_non_null(strstr(h.r->status.skipped_text, "/b.yaml:2:7: "));
	assert_int_equal(h.r->status.skipped, 1);
	replace(folder, "a.yaml", service("cart", 3));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.3 shop/pay=10.0.0.2 ")));
	assert_int_equal(h.r->status.skipped, 1);
	assert_int_equal(h.r->status.error, REGISTRY_GARBAGE);
	replace(folder, "b.yaml", service("pay", 4));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/cart=10.0.0.3 shop/pay=10.0.0.4 ")));
	assert_int_equal(h.r->status.error, REGISTRY_OK);
	assert_string_equal(h.r->status.text, "");
}

/* It may have said something before we were started. */
static void test_a_file_with_an_error_at_the_start_takes_nothing_away(void **state)
{
	folder_write(folder, "a.yaml", service("cart", 1));
	folder_write(folder, "b.yaml", "- not: [closed\n");
	start();
	assert_true(EVENTUALLY(5 * SECOND, h.upserts == 1));
	assert_true(shows("shop/cart=10.0.0.1 "));
	assert_non_null(strstr(h.loud, "/b.yaml:"));
	assert_int_equal(h.snapshots, 0);
	assert_int_equal(unlink(folder_path(folder, "a.yaml")), 0);
	pass(200);
	assert_int_equal(h.removes, 0);
	replace(folder, "b.yaml", service("pay", 2));
	assert_true(EVENTUALLY(5 * SECOND, h.snapshots == 1));
	assert_true(shows("shop/pay=10.0.0.2 "));
	assert_int_equal(h.upserts, 1);
}

static void test_missing_and_empty_are_two_answers(void **state)
{
	h.config.path = (char *)folder_path(folder, "later");
	start();
	assert_true(EVENTUALLY(5 * SECOND, *h.loud));
	assert_non_null(strstr(h.loud, "missing: "));
	assert_int_equal(h.snapshots, 0);
	assert_int_equal(h.r->status.contact_ms, 0);
	assert_int_equal(mkdir(folder_path(folder, "later"), 0755), 0);
	assert_true(EVENTUALLY(5 * SECOND, h.snapshots == 1));
	assert_string_equal(h.line, "");
	assert_int_equal(h.r->status.error, REGISTRY_OK);
	folder_write(folder_path(folder, "later"), "a.yaml", service("pay", 1));
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	*h.loud = '\0';
	assert_int_equal(rename(folder_path(folder, "later"), folder_path(folder, "away")), 0);
	assert_true(EVENTUALLY(5 * SECOND, *h.loud));
	assert_non_null(strstr(h.loud, "missing: "));
	pass(200);
	assert_true(shows("shop/pay=10.0.0.1 "));
	assert_int_equal(rename(folder_path(folder, "away"), folder_path(folder, "later")), 0);
	assert_true(EVENTUALLY(5 * SECOND, h.r->status.error == REGISTRY_OK));
	assert_int_equal(h.snapshots, 2);
}

static void test_what_is_no_file_or_too_large_is_refused(void **state)
{
	folder_write(folder, "a.yaml", service("pay", 1));
	folder_write(folder, "large.yaml", "");
	assert_int_equal(truncate(folder_path(folder, "large.yaml"), (16 << 20) + 1), 0);
	assert_int_equal(mkfifo(folder_path(folder, "pipe.yaml"), 0600), 0);
	assert_int_equal(mkdir(folder_path(folder, "sub.yaml"), 0755), 0);
	start();
	assert_true(EVENTUALLY(5 * SECOND, h.upserts == 1));
	assert_true(shows("shop/pay=10.0.0.1 "));
	assert_non_null(strstr(h.loud, "sub.yaml: it is no file"));
	assert_int_equal(unlink(folder_path(folder, "pipe.yaml")), 0);
	assert_int_equal(rmdir(folder_path(folder, "sub.yaml")), 0);
	assert_true(EVENTUALLY(5 * SECOND, strstr(h.loud, "large.yaml: it is larger") != NULL));
}

static void test_too_many_files_are_an_error_and_change_nothing(void **state)
{
	folder_write(folder, "a.yaml", service("pay", 1));
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	for (unsigned int i = 0; i < FILES_MAX; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%u.yaml", i);
		assert_int_equal(symlink("a.yaml", folder_path(folder, name)), 0);
	}
	assert_true(EVENTUALLY(20 * SECOND, strstr(h.loud, "more than 4096 files") != NULL));
	assert_true(shows("shop/pay=10.0.0.1 "));
	/* The same service in many files: the first one has it. */
	assert_int_equal(unlink(folder_path(folder, "n0.yaml")), 0);
	assert_true(EVENTUALLY(20 * SECOND,
			       strstr(h.r->status.skipped_text, "shop/pay is in ") != NULL));
	assert_true(shows("shop/pay=10.0.0.1 "));
}

static void test_a_second_look_is_said_though_nothing_is_new(void **state)
{
	unsigned int before;

	folder_write(folder, "a.yaml", service("cart", 1));
	start();
	assert_int_equal(h.r->kind->look(h.r, "shop", "cart"), -EAGAIN);
	assert_true(EVENTUALLY(5 * SECOND, h.snapshots));
	assert_int_equal(unlink(folder_path(folder, "a.yaml")), 0);
	assert_true(EVENTUALLY(5 * SECOND, shows("")));
	before = (unsigned int)h.snapshots;
	assert_true(EVENTUALLY(5 * SECOND, h.r->kind->look(h.r, "shop", "cart") == 0));
	assert_true(EVENTUALLY(5 * SECOND, h.snapshots > before));
	assert_true(shows(""));
}

static void test_only_selected_services_are_said(void **state)
{
	char *select[] = {(char *)"pay*"};

	h.config.select = select;
	h.config.n_select = 1;
	folder_write(folder, "a.yaml", service("cart", 1));
	folder_write(folder, "b.yaml", service("payments", 2));
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/payments=10.0.0.2 ")));
}

/* What is declared to sinewd alone. */
static void test_a_registration_in_a_file_is_told_and_left_out(void **state)
{
	char text[1000];

	(void)snprintf(
		text, sizeof(text),
		"%s---\napiVersion: sinew/v1\nkind: Registration\n"
		"metadata: {name: pay, namespace: shop}\n"
		"spec: {service: pay, registry: dc1, workload: {unit: pay.service}, port: 80}\n",
		service("pay", 1));
	folder_write(folder, "a.yaml", text);
	start();
	assert_true(EVENTUALLY(5 * SECOND, shows("shop/pay=10.0.0.1 ")));
	assert_non_null(strstr(h.loud, "a.yaml: a Registration in it is left out"));
	assert_int_equal(h.snapshots, 1);
}

static void test_without_a_path_it_does_not_start(void **state)
{
	char text[200];

	h.config.path = NULL;
	assert_int_equal(registry_open(&h.config, &h.host, NULL, &h.r, text), -EINVAL);
	assert_non_null(strstr(text, "\"path\""));
}

static void test_it_stops_in_the_middle_of_a_look(void **state)
{
	for (unsigned int i = 0; i < 20; i++) {
		folder_write(folder, "a.yaml", service("cart", i));
		h.stopped = false;
		start();
		for (unsigned int k = 0; k < i % 4; k++)
			(void)uv_run(&h.loop, UV_RUN_NOWAIT);
		stop();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_folder_is_said_as_one_snapshot),
		TEST(test_files_that_come_change_and_go_are_seen_at_once),
		TEST(test_a_file_that_is_away_for_a_moment_is_not_gone),
		TEST(test_p88_a_swap_of_the_data_link_is_seen),
		TEST(test_p88_a_folder_that_is_a_link_itself_is_followed),
		TEST(test_p88_what_inotify_does_not_tell_is_found_later),
		TEST(test_half_a_file_is_never_believed),
		TEST(test_a_file_with_an_error_keeps_its_last_word),
		TEST(test_a_file_with_an_error_at_the_start_takes_nothing_away),
		TEST(test_missing_and_empty_are_two_answers),
		TEST(test_what_is_no_file_or_too_large_is_refused),
		TEST(test_too_many_files_are_an_error_and_change_nothing),
		TEST(test_a_second_look_is_said_though_nothing_is_new),
		TEST(test_only_selected_services_are_said),
		TEST(test_a_registration_in_a_file_is_told_and_left_out),
		TEST(test_without_a_path_it_does_not_start),
		TEST(test_it_stops_in_the_middle_of_a_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
