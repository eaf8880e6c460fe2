/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/agent: how it ends, with registries that take their time to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "folder.h"
#include "registry/registry.h"

#define TICK_MS 5u  /* in place of the agent's own */
#define SLOW_MS 50u /* a source's end */

static char folder[256];
static unsigned int n_started, n_stopped;

/* A source that says nothing; of two, the second one ends later. */
static int start(struct registry *r)
{
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	assert_non_null(timer);
	(void)uv_timer_init(r->loop, timer);
	timer->data = r;
	r->source = timer;
	n_started++;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	n_stopped++;
	registry_stopped(handle->data);
	free(handle);
}

static void on_ended(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, on_closed);
}

static void stop(struct registry *r)
{
	uint64_t ms = strcmp(r->config->name, "slow") == 0 ? SLOW_MS : 0;

	assert_int_equal(uv_timer_start(r->source, on_ended, ms, 0), 0);
}

/* In place of the real one. */
const struct registry_kind registry_files = {.type = "files", .start = start, .stop = stop};

static int set_up(void **state)
{
	(void)snprintf(folder, sizeof(folder), "%s", folder_make());
	(void)alarm(60); /* what does not end is a failure */
	return 0;
}

static int tear_down(void **state)
{
	folder_remove(folder);
	return 0;
}

static void load(struct agent *a)
{
	char error[AGENT_CONFIG_ERROR];
	static const char *const paths[] = {"control.socket", "agent.socket", "state.dir"};

	folder_write(folder, "agent.yaml",
		     "metrics.address: \"\"\n"
		     "registries: [{name: quick, type: files}, {name: slow, type: files}]\n");
	assert_int_equal(
		agent_config_load(folder_path(folder, "agent.yaml"), true, &a->config, error), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		char word[400];

		(void)snprintf(word, sizeof(word), "%s=%s", paths[i],
			       folder_path(folder, paths[i]));
		assert_int_equal(agent_config_set(&a->config, word, "--set"), 0);
	}
}

static void test_what_has_ended_is_not_opened_again_while_another_ends(void **state)
{
	static struct agent a;

	load(&a);
	assert_int_equal(agent_start(&a), 0);
	uv_timer_set_repeat(&a.tick, TICK_MS);
	assert_int_equal(uv_timer_again(&a.tick), 0);
	uv_stop(&a.loop); /* as a signal does */
	assert_int_equal(agent_run(&a), 0);
	agent_done(&a);
	assert_int_equal(n_started, 2);
	assert_int_equal(n_stopped, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_has_ended_is_not_opened_again_while_another_ends),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
