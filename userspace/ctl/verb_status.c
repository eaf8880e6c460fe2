/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status: the daemon, the kernel side and the traffic in a few lines. Rates come from two looks
 * half a second apart; with -o json or yaml there is one look, and totals. Then the agent's
 * registries, where one runs.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/units.h"
#include "ctl/verb.h"

#define BETWEEN_MS 500
#define TITLE "%-12s"
#define HEARTBEAT_LATE_S 5.0
#define AGENT_MS 1000 /* an agent that hangs must not keep the rest waiting for longer */

struct looks {
	yyjson_val *now, *before;
	double seconds;
	uint64_t clock_ms;
};

static double now_seconds(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_styled(struct ctl *c, enum print_style style, const char *text)
{
	print_style_on(c->out, c->colour, style);
	(void)print_text(c->out, text);
	print_style_off(c->out, c->colour, style);
}

static const char *age_of(const struct looks *l, const char *pointer, char buf[static UNITS_TEXT])
{
	uint64_t then;
	int r;

	r = units_parse_time(field_text(l->now, pointer), &then);
	return r < 0 ? strcpy(buf, "?")
		     : units_age(l->clock_ms > then ? l->clock_ms - then : 0, buf);
}

static void put_daemon(struct ctl *c, const struct looks *l)
{
	char up[UNITS_TEXT], attached[UNITS_TEXT];
	double heartbeat = field_number(l->now, "/heartbeatAgeSeconds");
	uint64_t unwritten = field_count(l->now, "/stateWriteFailures");

	fputs("Sinew ", c->out);
	(void)print_text(c->out, field_text(l->now, "/version"));
	fprintf(c->out, " (abi %" PRIu64 ")   pid %" PRIu64 ", up %s, since attach %s   socket ",
		field_count(l->now, "/abi"), field_count(l->now, "/pid"),
		age_of(l, "/startedAt", up), age_of(l, "/attachedAt", attached));
	(void)print_text(c->out, c->socket);
	fputc('\n', c->out);
	if (heartbeat > HEARTBEAT_LATE_S) {
		put_styled(c, STYLE_WARN, "Heartbeat");
		fprintf(c->out, "   %s late\n", units_seconds(heartbeat, up));
	}
	if (unwritten > 0) {
		put_styled(c, STYLE_BAD, "State");
		fprintf(c->out,
			"       %" PRIu64 " writes failed: changes would not survive a "
			"restart; see journalctl -u sinewd\n",
			unwritten);
	}
}

static void put_kernel(struct ctl *c, const struct looks *l)
{
	uint64_t attached = field_count(l->now, "/programs/attached");
	uint64_t wanted = field_count(l->now, "/programs/wanted");
	uint64_t repairs = field_count(l->now, "/cgroupRepairs");

	fprintf(c->out, TITLE, "Kernel");
	(void)print_text(c->out, field_text(l->now, "/kernel"));
	fputs(", programs ", c->out);
	print_style_on(c->out, c->colour, attached < wanted ? STYLE_BAD : STYLE_PLAIN);
	fprintf(c->out, "%" PRIu64 "/%" PRIu64, attached, wanted);
	print_style_off(c->out, c->colour, attached < wanted ? STYLE_BAD : STYLE_PLAIN);
	fputs(", cgroup ", c->out);
	(void)print_text(c->out, field_text(l->now, "/cgroup"));
	if (field_has(l->now, "/cgroupOk") && !field_flag(l->now, "/cgroupOk"))
		put_styled(c, STYLE_BAD, " GONE: new sockets are not translated");
	if (repairs > 0)
		fprintf(c->out, ", repaired %" PRIu64 " time%s", repairs, repairs == 1 ? "" : "s");
	fputc('\n', c->out);
}

static void put_services(struct ctl *c, const struct looks *l)
{
	uint64_t degraded = field_count(l->now, "/services/degraded");
	uint64_t without = field_count(l->now, "/services/withoutBackend");
	uint64_t panic = field_count(l->now, "/services/panic");
	char a[UNITS_TEXT], text[96];

	fprintf(c->out, TITLE "%s", "Services",
		units_grouped(field_count(l->now, "/services/total"), a));
	if (degraded > 0) {
		(void)snprintf(text, sizeof(text), " (%s degraded", units_grouped(degraded, a));
		put_styled(c, STYLE_WARN, text);
		(void)snprintf(text, sizeof(text), ", %s without backend",
			       units_grouped(without, a));
		put_styled(c, STYLE_BAD, without > 0 ? text : "");
		(void)snprintf(text, sizeof(text), ", %s in panic", units_grouped(panic, a));
		put_styled(c, STYLE_BAD, panic > 0 ? text : "");
		put_styled(c, STYLE_WARN, ")");
	}
	fprintf(c->out, "   policies %s\n", units_grouped(field_count(l->now, "/policies"), a));
}

/* "1,904 (6 ejected, 2 draining), usable 1,896" */
static void put_backends(struct ctl *c, const struct looks *l)
{
	static const struct {
		const char *at, *text;
		enum print_style style;
	} rows[] = {{"/endpoints/ejected", "ejected", STYLE_WARN},
		    {"/endpoints/held", "held by hand", STYLE_WARN},
		    {"/endpoints/draining", "draining", STYLE_PLAIN}};
	char a[UNITS_TEXT], text[64];
	size_t shown = 0;

	fprintf(c->out, TITLE "%s", "Backends",
		units_grouped(field_count(l->now, "/endpoints/total"), a));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t n = field_count(l->now, rows[i].at);

		if (!n)
			continue;
		fputs(shown++ ? ", " : " (", c->out);
		(void)snprintf(text, sizeof(text), "%s %s", units_grouped(n, a), rows[i].text);
		put_styled(c, rows[i].style, text);
	}
	fprintf(c->out, "%s, usable %s\n", shown ? ")" : "",
		units_grouped(field_count(l->now, "/endpoints/usable"), a));
}

static void put_panic(struct ctl *c, const struct looks *l)
{
	yyjson_val *names = field_get(l->now, "/services/inPanic"), *name;
	size_t i, n;

	yyjson_arr_foreach (names, i, n, name) {
		fputs(i == 0 ? "Panic       " : ", ", c->out);
		put_styled(c, STYLE_BAD, yyjson_get_str(name));
	}
	if (n > 0)
		fputs(field_count(l->now, "/services/panic") > n ? " ...\n" : "\n", c->out);
}

/* The growth of a counter between the two looks. */
static double grown(const struct looks *l, const char *pointer)
{
	uint64_t now = field_count(l->now, pointer), before = field_count(l->before, pointer);

	return now > before ? (double)(now - before) : 0;
}

static double grown_failures(const struct looks *l)
{
	return grown(l, "/traffic/outcomes/refused") + grown(l, "/traffic/outcomes/timeout") +
	       grown(l, "/traffic/outcomes/unreachable") + grown(l, "/traffic/outcomes/reset");
}

static void put_traffic(struct ctl *c, const struct looks *l)
{
	double attempts = grown(l, "/traffic/attempts");
	double none = grown(l, "/traffic/refused/no_backend");
	double moved = grown(l, "/traffic/failedOver");
	char a[UNITS_TEXT], b[UNITS_TEXT], d[UNITS_TEXT], e[UNITS_TEXT], f[UNITS_TEXT];

	fprintf(c->out,
		TITLE "%s connects/s, failed %s, failed over %s/s, no backend %s/s, active %s",
		"Traffic", units_short(attempts / l->seconds, a),
		attempts > 0 ? units_percent(grown_failures(l), attempts, b) : "0%",
		units_short(moved / l->seconds, f), units_short(none / l->seconds, d),
		units_grouped(field_count(l->now, "/traffic/active"), e));
	fprintf(c->out, "   in all %s connects\n",
		units_grouped(field_count(l->now, "/traffic/attempts"), a));
}

static void put_sources(struct ctl *c, const struct looks *l)
{
	yyjson_val *sources = field_get(l->now, "/sources");
	yyjson_val *source;
	size_t i, n;
	char a[UNITS_TEXT], age[UNITS_TEXT];
	uint64_t then;

	yyjson_arr_foreach (sources, i, n, source) {
		fprintf(c->out, TITLE, i == 0 ? "Sources" : "");
		(void)print_text(c->out, field_text(source, "/name"));
		fprintf(c->out, " %s service%s, ",
			units_grouped(field_count(source, "/services"), a),
			field_count(source, "/services") == 1 ? "" : "s");
		fprintf(c->out, "%s polic%s", units_grouped(field_count(source, "/policies"), a),
			field_count(source, "/policies") == 1 ? "y" : "ies");
		if (units_parse_time(field_text(source, "/changedAt"), &then) >= 0)
			fprintf(c->out, ", changed %s ago",
				units_age(l->clock_ms > then ? l->clock_ms - then : 0, age));
		fputc('\n', c->out);
	}
	if (n == 0)
		fprintf(c->out, TITLE "none yet: sinewctl apply -f FILE\n", "Sources");
}

/* One line: state, what is kept, and of what kind the last error was. */
static void put_registry(struct ctl *c, const struct looks *l, yyjson_val *item)
{
	const char *state = field_text(item, "/state"),
		   *error = field_text(item, "/lastError/reason");
	uint64_t suspect = field_count(item, "/suspect");
	struct text_buffer b = {};
	char a[UNITS_TEXT];

	(void)print_text(c->out, field_text(item, "/type"));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(item, "/name"));
	fputc(' ', c->out);
	put_styled(c, strcmp(state, "ok") == 0 ? STYLE_PLAIN : STYLE_BAD, state);
	noun_registry_kept(&b, item, l->clock_ms);
	fprintf(c->out, ", %s", b.data ? b.data : "");
	text_done(&b);
	if (suspect) {
		fputs(", ", c->out);
		put_styled(c, STYLE_WARN, units_grouped(suspect, a));
		fputs(" suspect", c->out);
	}
	if (*error) {
		fputs(": ", c->out);
		(void)print_text(c->out, error);
	}
	fputc('\n', c->out);
}

/* Of the agent, if there is one: most hosts need none, so its absence is the doctor's to tell. */
static void put_registries(struct ctl *c, const struct looks *l)
{
	struct http_response response = {0};
	struct client_path path;
	yyjson_doc *doc = NULL;
	yyjson_val *items, *item;
	size_t i, n;

	if (c->o.timeout_ms > AGENT_MS)
		c->o.timeout_ms = AGENT_MS;
	client_turn(c, PEER_AGENT);
	client_path_init(&path, "/v1/registries");
	if (client_try(c, &path, &response) >= 0 && response.status == 200)
		doc = yyjson_read(response.body, response.length, 0);
	items = field_get(yyjson_doc_get_root(doc), "/items");
	yyjson_arr_foreach (items, i, n, item) {
		fprintf(c->out, TITLE, i == 0 ? "Registries" : "");
		put_registry(c, l, item);
	}
	yyjson_doc_free(doc);
	http_response_done(&response);
}

static yyjson_val *fullest_map(yyjson_val *maps, double *ret_share)
{
	yyjson_val *map, *fullest = NULL;
	size_t i, n;

	*ret_share = -1;
	yyjson_arr_foreach (maps, i, n, map) {
		double max = field_number(map, "/max");
		double share = max > 0 ? field_number(map, "/used") / max : 0;

		if (share > *ret_share) {
			*ret_share = share;
			fullest = map;
		}
	}
	return fullest;
}

static void put_maps(struct ctl *c, const struct looks *l)
{
	double share;
	yyjson_val *map = fullest_map(field_get(l->now, "/maps"), &share);
	uint64_t lost = field_count(l->now, "/node/event_lost");
	char a[UNITS_TEXT];

	fprintf(c->out, TITLE, "Maps");
	if (map) {
		fputs("fullest ", c->out);
		(void)print_text(c->out, field_text(map, "/name"));
		fputc(' ', c->out);
		put_styled(c,
			   share > 0.9    ? STYLE_BAD
			   : share > 0.75 ? STYLE_WARN
					  : STYLE_PLAIN,
			   units_percent(share, 1, a));
		fputs("   ", c->out);
	}
	fprintf(c->out, "events lost %s   untracked %s", units_grouped(lost, a),
		units_short((double)field_count(l->now, "/traffic/refused/untracked"), a));
	fputc('\n', c->out);
}

static void put_status(struct ctl *c, const struct looks *l)
{
	put_daemon(c, l);
	put_kernel(c, l);
	put_services(c, l);
	put_backends(c, l);
	put_panic(c, l);
	put_traffic(c, l);
	put_sources(c, l);
	put_registries(c, l);
	put_maps(c, l);
}

/* The second look, and the picture. */
static int print_two(struct ctl *c, const struct client_path *path, yyjson_doc *first)
{
	struct timespec pause = {.tv_nsec = BETWEEN_MS * 1000000L};
	double start = now_seconds(CLOCK_MONOTONIC);
	struct looks l = {.before = yyjson_doc_get_root(first)};
	yyjson_doc *second = NULL;
	int r;

	(void)nanosleep(&pause, NULL);
	r = client_get(c, path, NULL, &second);
	if (r < 0)
		return r;
	l.now = yyjson_doc_get_root(second);
	l.seconds = now_seconds(CLOCK_MONOTONIC) - start;
	l.clock_ms = (uint64_t)(now_seconds(CLOCK_REALTIME) * 1000);
	put_status(c, &l);
	yyjson_doc_free(second);
	return 0;
}

int verb_status_run(void *ctl)
{
	struct ctl *c = ctl;
	struct client_path path;
	yyjson_doc *doc = NULL;
	int r;

	client_path_init(&path, "/v1/status");
	r = client_get(c, &path, NULL, &doc);
	if (r < 0)
		return r;
	r = output_is_data(c) ? output_value(c, yyjson_doc_get_root(doc))
			      : print_two(c, &path, doc);
	yyjson_doc_free(doc);
	return r;
}
