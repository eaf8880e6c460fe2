/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See agent.h: agent.yaml is read, when the agent starts and on SIGHUP. Before: main.c, agent.c.
 * After: registries.c. A file with an error in it must never change anything.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "agent/registries.h"
#include "base/log.h"
#include "base/notify.h"

int agent_read(const struct agent *a, struct agent_config *ret, struct names_config *ret_dns,
	       char ret_error[static AGENT_CONFIG_ERROR])
{
	struct agent_config c;
	int r = agent_config_load(a->file, a->must, &c, ret_error);

	if (r < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < a->overrides.n; i++) {
		(void)snprintf(ret_error, AGENT_CONFIG_ERROR, "--set %.200s: it is wrong",
			       a->overrides.items[i]);
		r = agent_config_set(&c, a->overrides.items[i], "--set");
	}
	if (r >= 0) {
		(void)snprintf(ret_error, AGENT_CONFIG_ERROR,
			       "%.200s: a setting of dns is wrong: see the log", a->file);
		r = names_read(&c, ret_dns);
	}
	if (r < 0) {
		agent_config_done(&c);
		return r;
	}
	*ret_error = '\0';
	*ret = c;
	return 0;
}

static int take_over(struct agent *a, struct agent_config *fresh)
{
	int r = registries_replace(a, fresh);

	if (r < 0)
		return r;
	agent_config_list_fixed(&a->config, fresh, a->reloads.fixed, sizeof(a->reloads.fixed));
	if (*a->reloads.fixed)
		log_warn("%s: restart to take over: %s", a->file, a->reloads.fixed);
	a->config.log_level = fresh->log_level; /* what config.c says that it reloads */
	a->config.log_format = fresh->log_format;
	a->config.coalesce_ms = fresh->coalesce_ms;
	push_set_coalesce(a->push, a->config.coalesce_ms);
	log_init("sinew-agent", agent_config_level(&a->config),
		 (enum log_format)a->config.log_format);
	return 0;
}

int agent_reload(struct agent *a)
{
	struct agent_reloads *told = &a->reloads;
	struct names_config dns;
	struct agent_config fresh;
	struct timespec now;
	int r;

	notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, uv_hrtime() / 1000);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	told->last_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	r = agent_read(a, &fresh, &dns, told->error);
	if (r >= 0) {
		r = take_over(a, &fresh);
		if (r < 0)
			(void)snprintf(told->error, sizeof(told->error), "no memory");
		agent_config_done(&fresh);
	}
	a->must |= access(a->file, F_OK) == 0;
	told->taken += r >= 0;
	told->failed += r < 0;
	if (r >= 0)
		log_info("settings reloaded: following %zu registries", a->n_registries);
	else
		log_err("the settings have errors; the old ones stay in force");
	notify_send("READY=1");
	return r;
}
