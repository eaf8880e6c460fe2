/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start of sinewd, read from top to bottom, and its end. After main.c has read the command
 * line; the loop then belongs to watch.c (time), control (requests) and kernel/events (the
 * datapath).
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/version.h"
#include "daemon/lockdown.h"
#include "kernel/events.h"
#include "kernel/probe.h"
#include "kernel/wants.h"
#include "kernel/workload.h"

void daemon_kernel_config(const struct daemon *d, struct kernel_config *ret)
{
	*ret = (struct kernel_config){
		.bpffs = d->config.bpffs,
		.cgroup = d->cgroup,
		.flows = d->config.flows,
		.bypass_mark = d->config.bypass_mark,
		.levels = watch_levels(d),
		.node = d->config.node,
		.zone = d->config.zone,
		.kernel_too = !d->config.kernel_sockets,
		.failover = !d->config.failover_off,
		.timeouts = d->interfaces.wants & WANTS_TIMEOUTS,
		.tc_how = d->config.failover_attach,
		.pool4 = d->config.pool4,
		.pool6 = d->config.pool6,
	};
}

int daemon_configure(struct daemon *d)
{
	int r = setting_load(&d->settings, d->config_file, d->config_must);

	for (int i = 0; r >= 0 && i < _SETTING_MAX; i++)
		if (d->overrides.text[i])
			r = setting_set(&d->settings, (enum setting_key)i, d->overrides.text[i],
					d->overrides.origin[i]);
	if (r >= 0)
		r = config_parse(&d->settings, &d->config);
	return r;
}

static int find_cgroup(struct daemon *d)
{
	int r = config_find_cgroup2(&d->cgroup_mount);

	if (r < 0)
		return log_err_r(r, "no cgroup v2 is mounted here");
	d->cgroup = strdup(d->config.cgroup ?: d->cgroup_mount);
	return d->cgroup ? 0 : -ENOMEM;
}

static int explain_kernel_error(const struct daemon *d, int r, int pid)
{
	const char *missing = lockdown_may_start() ? probe_missing() : NULL;

	if (r == -EBUSY && pid)
		log_err("another sinewd (pid %d) tends %s; stop it first, or use another bpffs.dir",
			pid, d->config.bpffs);
	else if (r == -EBUSY)
		log_err("another process holds the lock on %s", d->config.bpffs);
	else if (r == -EPROTO && pid)
		log_err("%s holds maps of ABI %d, this is ABI %u: run \"sinewctl uninstall\" of the version that "
			"made them, then start again (open connections stay, new ones pass untranslated meanwhile)",
			d->config.bpffs, pid, SN_ABI_VERSION);
	else if (r == -EPROTO)
		return r; /* told where the map is named */
	else if (r == -ENOTSUP)
		log_err("%s is not on a bpffs: mount -t bpf bpf /sys/fs/bpf, or set bpffs.dir",
			d->config.bpffs);
	else if (d->kernel.trouble[0])
		log_err("%s", d->kernel.trouble);
	else if (missing)
		log_err("%s", missing);
	else if (r == -EPERM || !lockdown_may_start())
		log_err_r(
			r,
			"the kernel refused our programs: sinewd needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
	else
		log_err_r(
			r,
			"the kernel refused our programs; --log-level debug shows what its verifier said");
	return r;
}

static int start_kernel(struct daemon *d)
{
	struct kernel_config config;
	int pid = 0, r;

	r = watch_read_workloads(d);
	if (r < 0)
		return r;
	d->interfaces.wants = wants_read_pinned(d->config.bpffs) & WANTS_TIMEOUTS;
	daemon_kernel_config(d, &config);
	r = kernel_open(&d->kernel, &config, &pid);
	if (r < 0)
		return explain_kernel_error(d, r, pid);
	r = d->config.run_time ? kernel_time_programs() : 0;
	if (r < 0)
		(void)log_warn_r(r, "the kernel does not time its programs; "
				    "metrics.programRunTime has no effect");
	return watch_workloads(d);
}

/* Desired state from disk, actual state from the kernel, and the first into the second. */
static int start_state(struct daemon *d)
{
	const struct store_config config = {.pool4 = d->config.pool4,
					    .pool6 = d->config.pool6,
					    .allowed = d->config.allow,
					    .n_allowed = d->config.n_allow};
	size_t n, removed = 0;
	bool bad = false;
	int r;

	r = store_new(&config, &d->store);
	if (r >= 0)
		r = persist_init(&d->persist, &d->loop, d->config.state, d->store);
	if (r >= 0)
		r = persist_load(&d->persist, d->store, &bad);
	if (r < 0)
		return log_err_r(r, "cannot use the state folder %s", d->config.state);
	r = publish_new(&d->kernel, &d->publish);
	if (r < 0)
		return log_err_r(r, "cannot read the kernel's maps");
	r = publish_adopt(d->publish, d->store, bad, &removed);
	if (r < 0)
		return log_err_r(r, "cannot bring the kernel's maps to the declared state");
	r = ops_start_holds(d);
	if (r < 0)
		return log_err_r(r, "cannot read what is held by hand");
	/* The last daemon may have been killed between a change and its sweep. */
	d->sweep_streams = d->kernel.took_over;
	if (removed || d->kernel.took_over)
		watch_sweep_soon(d);
	(void)store_services(d->store, &n);
	log_info("%zu services declared; %s %s", n,
		 d->kernel.took_over ? "took over the maps and links below"
				     : "made maps and links below",
		 d->kernel.pin_dir);
	return 0;
}

/* Without it services work as before: no reason not to start. */
static void start_report(struct daemon *d)
{
	int r;

	d->report.kernel = &d->kernel;
	d->report.cgroup_mount = d->cgroup_mount;
	r = report_start(&d->report, &d->loop, d->config.report_socket);
	if (r < 0)
		(void)log_warn_r(r, "cannot receive on %s; applications cannot report outcomes",
				 d->config.report_socket);
}

static int start_control(struct daemon *d)
{
	const struct control_config config = {
		.control_path = d->config.control_socket,
		.status_path = d->config.status_socket,
		.series_budget = d->config.series,
		.backend_label = d->config.backend_label,
	};
	int r;

	ops_init(d);
	r = control_new(&d->loop, &config, &d->ops, &d->control);
	if (r < 0)
		return log_err_r(r, "cannot listen on %s and %s", config.control_path,
				 config.status_path);
	return 0;
}

int daemon_start(struct daemon *d)
{
	struct timespec now;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	d->started_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	log_init("sinewd", d->config.log_level, d->config.log_format);
	r = find_cgroup(d);
	if (r >= 0)
		r = start_kernel(d);
	if (r < 0)
		return r;
	r = evict_start(&d->evict, &d->kernel, (enum evict_method)d->config.datagrams_end,
			lockdown_helper);
	if (r < 0 && d->config.datagrams_end != EVICT_OFF)
		(void)log_warn_r(r, "stale datagram sockets cannot be ended here; those connected "
				    "to a removed backend keep it");
	r = watch_start(d);
	if (r >= 0)
		r = start_state(d);
	if (r >= 0)
		r = interfaces_start(d);
	if (r >= 0)
		r = start_control(d);
	if (r >= 0)
		r = ops_start_listeners(d);
	if (r < 0)
		return r;
	start_report(d);
	r = lockdown_daemon();
	if (r < 0)
		return log_err_r(r, "cannot give up privileges");
	return 0;
}

int daemon_run(struct daemon *d)
{
	notify_send("READY=1\nSTATUS=%u programs on %s", kernel_attached(&d->kernel), d->cgroup);
	log_info("ready: %u of %d programs on %s, control on %s", kernel_attached(&d->kernel),
		 _HOOK_MAX, d->cgroup, d->config.control_socket);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	return 0;
}

static bool is_kernel_knob_changed(const struct config *a, const struct config *b)
{
	return a->bypass_mark != b->bypass_mark || a->kernel_sockets != b->kernel_sockets ||
	       a->failover_off != b->failover_off;
}

static void tell_fixed_settings(const struct settings *old, const struct settings *new)
{
	for (int i = 0; i < _SETTING_MAX; i++)
		if (!setting_table[i].reloads && strcmp(old->text[i], new->text[i]) != 0)
			log_warn("%s: %s needs a restart to take effect", new->origin[i],
				 setting_table[i].key);
}

/* What may change while running changes places; strings of the other settings are still borrowed
 * from the first ones, which therefore stay. */
static void swap_config(struct config *a, struct config *b)
{
	struct config old = *a;

	a->bypass_mark = b->bypass_mark;
	a->kernel_sockets = b->kernel_sockets;
	a->bypass_cgroups = b->bypass_cgroups;
	a->n_bypass_cgroups = b->n_bypass_cgroups;
	a->failover = b->failover;
	a->n_failover = b->n_failover;
	a->failover_off = b->failover_off;
	a->log_level = b->log_level;
	a->log_format = b->log_format;
	b->bypass_mark = old.bypass_mark;
	b->kernel_sockets = old.kernel_sockets;
	b->bypass_cgroups = old.bypass_cgroups;
	b->n_bypass_cgroups = old.n_bypass_cgroups;
	b->failover = old.failover;
	b->n_failover = old.n_failover;
	b->failover_off = old.failover_off;
	b->log_level = old.log_level;
	b->log_format = old.log_format;
}

/* For whoever asks what is in force, and why. */
static void swap_settings(struct settings *a, struct settings *b)
{
	char origin[sizeof(a->origin[0])];

	for (int i = 0; i < _SETTING_MAX; i++) {
		char *text = a->text[i];

		if (!setting_table[i].reloads)
			continue;
		a->text[i] = b->text[i];
		b->text[i] = text;
		memcpy(origin, a->origin[i], sizeof(origin));
		memcpy(a->origin[i], b->origin[i], sizeof(origin));
		memcpy(b->origin[i], origin, sizeof(origin));
	}
}

int daemon_swap(struct daemon *d)
{
	struct kernel_config kernel;
	int r;

	daemon_kernel_config(d, &kernel);
	r = kernel_reload(&d->kernel, &kernel);
	if (r < 0)
		return log_err_r(
			r, "cannot swap in programs with the new settings; the old ones stay");
	publish_rebind(d->publish, &d->kernel);
	watch_rebind(d);
	return 0;
}

static int apply_settings(struct daemon *d, bool knob, uint32_t levels)
{
	int r = watch_read_workloads(d);

	if (r >= 0)
		r = watch_workloads(d);
	if (r >= 0 && (knob || levels != watch_levels(d)))
		r = daemon_swap(d);
	if (r >= 0)
		interfaces_refresh(d);
	return r;
}

static int take_over_settings(struct daemon *d, struct daemon *fresh)
{
	bool knob = is_kernel_knob_changed(&d->config, &fresh->config);
	int r;

	swap_config(&d->config, &fresh->config);
	r = apply_settings(d, knob, watch_levels(d));
	if (r < 0) {
		swap_config(&d->config, &fresh->config);
		if (watch_read_workloads(d) >= 0)
			(void)watch_workloads(d);
		return r;
	}
	swap_settings(&d->settings, &fresh->settings);
	log_init("sinewd", d->config.log_level, d->config.log_format);
	return 0;
}

int daemon_reload(struct daemon *d)
{
	struct daemon fresh = {.config_file = d->config_file,
			       .config_must = d->config_must,
			       .overrides = d->overrides};
	int r;

	notify_send("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(uv_hrtime() / 1000));
	r = daemon_configure(&fresh);
	if (r < 0) {
		log_err("the settings have errors; the old ones stay in force");
	} else {
		tell_fixed_settings(&d->settings, &fresh.settings);
		r = take_over_settings(d, &fresh);
		config_done(&fresh.config);
	}
	setting_done(&fresh.settings);
	if (r >= 0)
		log_info("settings reloaded");
	notify_send("READY=1");
	return r;
}

static void on_control_closed(void *arg)
{
	struct daemon *d = arg;

	d->control = NULL;
}

static int remove_everything(const struct config *config)
{
	int pid = 0, r;

	r = kernel_uninstall(config->bpffs, &pid);
	if (r == -EBUSY && pid)
		return log_err_r(
			r,
			"sinewd (pid %d) still tends %s: use sinewctl uninstall, or stop it first",
			pid, config->bpffs);
	if (r < 0)
		return log_err_r(r, "cannot remove the pins below %s", config->bpffs);
	r = persist_remove(config->state);
	if (r < 0)
		return log_err_r(r, "cannot remove the state folder %s", config->state);
	(void)unlink(config->control_socket);
	(void)unlink(config->status_socket);
	if (*config->report_socket)
		(void)unlink(config->report_socket);
	log_info("uninstalled: programs detached, pins below %s and state below %s removed",
		 config->bpffs, config->state);
	return 0;
}

int daemon_uninstall(struct daemon *d)
{
	int r = remove_everything(&d->config);

	config_done(&d->config);
	setting_done(&d->settings);
	setting_done(&d->overrides);
	free(d->config_file);
	return r;
}

void daemon_done(struct daemon *d)
{
	notify_send("STOPPING=1");
	d->stopping = true;
	if (d->control)
		control_close(d->control, on_control_closed, d);
	if (d->report.kernel)
		report_stop(&d->report);
	listeners_stop(&d->listeners);
	watch_stop(d);
	persist_stop(&d->persist);
	(void)uv_run(&d->loop,
		     UV_RUN_DEFAULT); /* until every handle is closed and state is on disk */
	if (d->persist.store)
		persist_flush(&d->persist);
	persist_done(&d->persist);
	holds_done(&d->holds);
	evict_stop(&d->evict);
	listeners_done(&d->listeners);
	interfaces_done(d);
	if (d->publish)
		canary_take(d->publish);
	publish_free(d->publish);
	store_free(d->store);
	kernel_close(&d->kernel);
	if (d->uninstall)
		(void)remove_everything(&d->config);
	(void)uv_loop_close(&d->loop);
	for (size_t i = 0; i < d->n_workloads; i++)
		free(d->workloads[i].path);
	free(d->workloads);
	free(d->cgroup);
	free(d->cgroup_mount);
	config_done(&d->config);
	setting_done(&d->settings);
	setting_done(&d->overrides);
	free(d->config_file);
}
