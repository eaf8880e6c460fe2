/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One shape for every registry. A source (consul.c, kubernetes.c, ...) turns what one registry says
 * into snapshots and deltas of services, and tells its state; it decides nothing else.
 *
 *   source -> registry_say_*() -> the host: merge.h (who wins) -> guard.h (is it believed) ->
 * control API
 *
 * A source never blocks, never logs and never empties: what it does not know, it does not say. Only
 * a complete, well-formed answer becomes a snapshot; missing, empty, 403, 404 and 500 are five
 * different answers (enum registry_error). Its decoder (consul_decode.c, ...) is pure: bytes in,
 * objects out, bounded, fuzzed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "model/codec.h"
#include "net/fetch.h"

struct registry;
struct pods;

/* What agent.yaml says of one; texts owned, NULL: not given. Those who keep it for longer than a
 * call hold a reference (registry_config.h). */
struct registry_config {
	unsigned int refs; /* 0: not counted, whoever made it keeps it */
	char *name;        /* an RFC 1123 label: "dc1" */
	char *type;        /* of registry_kinds: "consul" */
	char *address;     /* http://, https://, unix:///path, srv: dns://ADDRESS:PORT; kinds have a
			      default */
	char *path;        /* files: the folder; kubernetes: a kubeconfig ("": in the cluster) */
	char *prefix;      /* etcd: of keys; consul: of the KV tree with manifests */
	char *namespace;   /* Sinew's, for services of registries without any; default "default" */
	char *datacenter, *remote_namespace;         /* consul */
	char *zone;                                  /* of endpoints that say none */
	char *token_file, *username, *password_file; /* credentials come from files alone */
	struct fetch_tls tls;
	char **select; /* names of services, with * and ?; none: all */
	size_t n_select;
	char **names; /* srv: what is followed; see srv_service.h */
	size_t n_names;
	uint64_t interval_ms; /* of those that are polled; 0: the kind's default */
	enum registry_on_stale { STALE_KEEP, STALE_DRAIN, STALE_FAIL } on_stale;
	uint64_t stale_ms;  /* without contact for so long it is stale; default 60,000 */
	char *node_address; /* docker: of containers in the host's network; NULL: found out */
	bool external;      /* kubernetes: NodePorts and external addresses, too */
	bool pods;          /* kubernetes: this node's pods are followed, wanted or not */
	char *kubelet;      /* kubernetes: who is asked for them; NULL: the API server */
};

enum registry_error {
	REGISTRY_OK,
	REGISTRY_UNREACHABLE, /* no connection, or it broke */
	REGISTRY_TIMED_OUT,
	REGISTRY_TLS,
	REGISTRY_UNAUTHORIZED, /* 401, or a credential file that cannot be read */
	REGISTRY_FORBIDDEN,    /* 403, or results that were filtered by permissions */
	REGISTRY_MISSING,      /* 404 where there must be something */
	REGISTRY_OVERLOADED,   /* 429, 503 */
	REGISTRY_FAILED,       /* other 5xx */
	REGISTRY_GARBAGE,      /* an answer that cannot be decoded, or is over a limit */
	_REGISTRY_ERROR_MAX
};
const char *registry_error_name(enum registry_error e); /* "unreachable": a metric's label */

enum registry_state { REGISTRY_CONNECTING, REGISTRY_SYNCED, REGISTRY_STALE };
const char *registry_state_name(enum registry_state s); /* "connecting", "ok", "stale" */

struct registry_status {
	enum registry_state state;
	enum registry_error error; /* the last one; REGISTRY_OK once it answers again */
	bool partly;               /* it is about a part of an answer, and the rest is good */
	char text[200];            /* of the error: cause, and what permission or file is missing */
	char hint[200];            /* what a person may do; "": nothing */
	uint64_t errors[_REGISTRY_ERROR_MAX];
	uint64_t contact_ms,
		changed_ms;     /* CLOCK_REALTIME: of the last good answer, and change; 0: never */
	uint64_t latency_us;    /* of the last good short answer */
	uint64_t skipped;       /* objects that could not be used, and were left out */
	char skipped_text[160]; /* about the last of them */
};

/* Where a source's words go; all on the loop's thread. */
struct registry_host {
	uv_loop_t *loop;
	void *arg;
	/* Everything that this registry has; the array and its objects become the host's. */
	void (*snapshot)(void *arg, struct registry *r, struct object *objects, size_t n);
	/* One object is new or different (taken over), or gone (kind, namespace, name). */
	void (*upsert)(void *arg, struct registry *r, struct object *object);
	void (*remove)(void *arg, struct registry *r, enum object_kind kind, const char *namespace,
		       const char *name);
	/* status changed */
	void (*status)(void *arg, struct registry *r);
	/* r->pods changed, or why they are not known; NULL: of no interest. */
	void (*pods)(void *arg, struct registry *r);
};

struct registry_kind {
	const char *type;
	const char *address; /* default; NULL: must be given or is of no use */
	/* Checks the config, makes the source's own state (r->source) and begins. -EINVAL with
	 * status.text set; -ENOMEM. */
	int (*start)(struct registry *r);
	/* Ends every request and closes every handle; calls registry_stopped(r) once they are. */
	void (*stop)(struct registry *r);
	/* Both NULL: the kind knows no pods. Follows those of this node, or no more. */
	void (*want_pods)(struct registry *r, bool wanted);
	/* One is missed: all are asked for anew, each time a little later. */
	void (*ask_pods)(struct registry *r);
	/*
	 * Asks the registry a second time about a service that it took endpoints from (guard.h),
	 * beside what it is asked anyway; NULL name: about everything. What was seen and still is
	 * so is said again. An answer that fails or contradicts says nothing; when it contradicts
	 * again, what the source knows is got anew. One look at a time, and no state to ask for:
	 * whoever wants to know asks again later. 0: it looks; -EAGAIN: not now. NULL: it says such
	 * things twice by itself (consul.c).
	 */
	int (*look)(struct registry *r, const char *namespace, const char *name);
};

struct registry {
	const struct registry_kind *kind;
	struct registry_config *config;   /* a reference */
	const struct registry_host *host; /* borrowed */
	uv_loop_t *loop;
	struct fetcher *fetcher;
	char tag[128]; /* "consul/dc1": the source of its objects and endpoints */
	struct registry_status status;
	uint64_t wait_ms;  /* the last wait between tries; see registry_backoff() */
	uint64_t said;     /* hash of the last snapshot; 0: deltas followed, or there was none */
	void *source;      /* the kind's own */
	struct pods *pods; /* the kind's, registry/pods.h; NULL: it knows none */
	void (*on_stopped)(void *arg, struct registry *r);
	void *stopped_arg;
};

extern const struct registry_kind registry_consul, registry_eureka, registry_kubernetes,
	registry_etcd, registry_docker, registry_files, registry_srv;
/* NULL: no such type. */
const struct registry_kind *registry_kind_find(const char *type);

/* --- what the host does ---------------------------------------------------------------------- */

/* Starts one; host must outlive its words, fetcher all of it. -EINVAL (unknown type, or what the
 * kind found; ret_text says it), -ENOMEM. */
int registry_open(struct registry_config *config, const struct registry_host *host,
		  struct fetcher *fetcher, struct registry **ret, char ret_text[static 200]);
/* It says nothing more; on_stopped is called on the loop, then r is freed. */
void registry_close(struct registry *r, void (*on_stopped)(void *arg, struct registry *r),
		    void *arg);

/* --- what sources say ------------------------------------------------------------------------ */

void registry_say_snapshot(struct registry *r, struct object *objects, size_t n); /* takes them */
void registry_say_upsert(struct registry *r, struct object *object);              /* takes it */
void registry_say_remove(struct registry *r, enum object_kind kind, const char *namespace,
			 const char *name);
/* It answered, changed or not; latency 0: a long poll, not to be told. Resets the back-off. */
void registry_say_contact(struct registry *r, uint64_t latency_us);
/* It answered, while an earlier error still stands: it is not stale, and not well. */
void registry_say_heard(struct registry *r);
/* It did not; text and hint are for people. Counts, and shows. */
__attribute__((format(printf, 4, 5))) void registry_say_error(struct registry *r,
							      enum registry_error error,
							      const char *hint, const char *format,
							      ...);
/* It answered, and a part of that is of no use: contact and an error at once. */
__attribute__((format(printf, 4, 5))) void registry_say_partly(struct registry *r,
							       enum registry_error error,
							       const char *hint, const char *format,
							       ...);
/* The class of an exchange that went wrong, by its error or status; REGISTRY_OK: a 2xx. */
enum registry_error registry_error_of(const struct fetch_result *result);
/* What its Retry-After asks for, in ms; 0: nothing. */
uint64_t registry_retry_after(const struct fetch_result *result);
/* One object was left out. */
__attribute__((format(printf, 2, 3))) void registry_say_skipped(struct registry *r,
								const char *format, ...);
/* How long to wait before the next try: 100 ms, doubled each time up to 4 s, half of it by chance
 * (equal jitter); at least retry_after_ms. */
uint64_t registry_backoff(struct registry *r, uint64_t retry_after_ms);
/* The same for one of several things that a source asks for; *wait_ms is 0 at first, and again once
 * it was answered. */
uint64_t registry_backoff_of(uint64_t *wait_ms, uint64_t retry_after_ms);
/* A credential of a file, without its line end, read anew each time; caller frees with
 * registry_forget(). -errno of open, -E2BIG over 64 KiB, -EINVAL with a control byte in it. */
int registry_read_secret(const char *path, char **ret);
char *registry_forget(char *secret); /* wipes and frees; returns NULL */
/* One after the other, the secret last: "Authorization: ", "Bearer ", "...". No other copy is left,
 * as asprintf() leaves some of a long one. The caller ends it with registry_forget(). NULL: no
 * memory. */
char *registry_join(const char *before, const char *between, const char *secret);
/* "Authorization: Bearer ...", or "Basic ..." of a user (NULL: none) and a password. As above. */
char *registry_authorization(const char *user, const char *secret);
/* Whether `name` is selected by config->select. */
bool registry_is_selected(const struct registry *r, const char *name);
void registry_stopped(struct registry *r);
