/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the control API needs from its daemon, as one table of functions. The API never sees
 * libbpf; tests serve it from a fake of this table. All run on the loop's thread, and none blocks.
 */
#pragma once

#include "model/listener.h"
#include "model/store.h"
#include "model/traffic.h"

struct control_caller {
	uint32_t uid, gid;
	int32_t pid;
	bool admin; /* came over the control socket; otherwise read-only */
};

/* Answer to an apply; called once, on the loop's thread, when the change is durable (or failed). */
typedef void (*control_applied_fn)(void *arg, int r);

/* What a client wants done; all of it borrowed for the call. */
struct control_order {
	const struct control_caller *caller;
	const struct change *change;
	bool dry_run; /* only plan */
	control_applied_fn applied;
	void *applied_arg;
};

/* A backend that a client wants set aside by hand, or taken back; all of it borrowed. */
struct control_hold {
	const struct control_caller *caller;
	const struct service *service;
	size_t endpoint;
	uint16_t port;      /* of the endpoint; 0: every one */
	enum sn_hold held;  /* SN_HOLD_NONE: take it back, from the kernel's own ejection, too */
	uint64_t for_ms;    /* 0: until it is taken back */
	const char *reason; /* "": none was given */
};

struct control_program_facts { /* /v1/status */
	const char *version;
	const char *revision; /* NULL: not told */
	uint32_t abi;
	int32_t pid;
	uint64_t started_ms, attached_ms; /* CLOCK_REALTIME */
	const char *kernel;               /* uname -r */
	const char *cgroup;               /* path attached to */
	const char *bpffs;                /* pin directory */
	bool cgroup_ok;                   /* false while the attached cgroup is gone */
	unsigned int programs_attached, programs_wanted;
	unsigned int cgroup_repairs;
	uint64_t heartbeat_age_ms;
	uint64_t state_write_failures;
	uint64_t loop_max_us; /* longest turn of the event loop since the last status */
};

struct control_interface { /* of a network interface, in /v1/status */
	const char *name;
	uint32_t index;
	const char *attached; /* "tcx", "clsact" or "none" */
	const char *reason;   /* of "none" */
};

struct control_check { /* /v1/doctor */
	const char *name;
	enum { CHECK_OK, CHECK_WARN, CHECK_FAIL } level;
	char text[200];
	char hint[200]; /* "": none */
};

/* Where a client knocks: a port of a service at one of its addresses. */
struct control_door {
	const struct service *service;
	size_t port;
	struct sn_addr addr;
};

struct control_ops {
	void *arg;

	const struct store *(*store)(void *arg);

	/*
	 * Plans, applies to the kernel and commits a change; order->applied is called later when r
	 * is 0 and it was no dry run. ret_plan (caller: plan_done) says what changed. Errors: as
	 * store_plan, and -ENOSPC (a kernel map is full), -EBUSY (freed room not yet reusable: try
	 * again in 1 s).
	 */
	int (*apply)(void *arg, const struct control_order *order, struct problems *problems,
		     struct plan *ret_plan);

	/* Sets aside or takes back; how many of the endpoint's ports that is. In effect at once;
	 * control_hold_written() tells when it is on disk, too. -ENOENT: the endpoint is not
	 * published; -ENOSPC: LIMIT_HOLDS. */
	int (*hold)(void *arg, const struct control_hold *order);

	/* Sums over the service's ports, families and past backends. */
	int (*service_traffic)(void *arg, const struct service *s, struct traffic *ret);
	/* One endpoint of a service at one of its ports. -ENOENT: not published. */
	int (*backend_traffic)(void *arg, const struct service *s, size_t endpoint, size_t port,
			       struct backend_traffic *ret);
	/* Visits the backends that a connect there may get, those of fallback services among them.
	 * -ENOENT: not published. */
	int (*members)(void *arg, const struct control_door *door,
		       void (*visit)(void *visit_arg, const struct member_traffic *m),
		       void *visit_arg);
	/* Endpoints of a service with a backend that is usable now, counted once per endpoint. */
	size_t (*service_usable)(void *arg, const struct service *s);
	int (*service_state)(void *arg, const struct service *s, struct service_state *ret);
	/* What went wrong lately for a caller at a datapath service index. -ENOENT: nothing. */
	int (*memory)(void *arg, uint32_t service, uint32_t workload, struct sn_memory *ret);

	/* Visits up to `max` live flows; the callback returns < 0 to stop. Returns the number seen.
	 */
	int (*flows)(void *arg, size_t max,
		     int (*visit)(void *visit_arg, const struct sn_flow *flow), void *visit_arg);
	/* Service and endpoint behind a backend index of a flow or event; NULL when replaced since.
	 * Incarnation 0: whoever has the index now. */
	const struct service *(*backend_owner)(void *arg, uint32_t backend, uint16_t incarnation,
					       size_t *ret_endpoint, size_t *ret_port);
	/* Service behind a datapath service index; NULL: none. */
	const struct service *(*service_owner)(void *arg, uint32_t service, size_t *ret_port);

	/* Asks the kernel's own selection code; e->dest, mark, cgroup_id are the question. */
	int (*explain)(void *arg, struct sn_explain *e);

	void (*status)(void *arg, struct control_program_facts *ret);
	uint64_t (*node_count)(void *arg,
			       unsigned int reason); /* SN_NODE_REASONS, by enum sn_reason */
	/* What became of applications' reports, by enum sn_tell. */
	uint64_t (*report_count)(void *arg, unsigned int tell);
	size_t (*map_fills)(void *arg, const struct map_fill **ret);
	size_t (*program_runs)(void *arg, const struct program_run **ret);
	/* Begins to look at what takes a moment, before doctor() is asked: 1: control_inspected()
	 * will tell when that is done; else there is nothing to wait for. May be NULL. */
	int (*inspect)(void *arg);
	size_t (*doctor)(void *arg, const struct control_check **ret);
	/* Settings and where each came from: calls back with key, value, origin. */
	void (*config)(void *arg,
		       void (*visit)(void *visit_arg, const char *key, const char *value,
				     const char *origin),
		       void *visit_arg);
	/* Workloads set to bypass: calls back with cgroup path and id. */
	void (*workloads)(void *arg,
			  void (*visit)(void *visit_arg, const char *cgroup, uint64_t id),
			  void *visit_arg);
	/* Sockets that listen. Whether all namespaces have been looked at once. */
	bool (*listeners)(void *arg, void (*visit)(void *visit_arg, const struct listener *l),
			  void *visit_arg);
	/* What is known of the cgroup with that id; NULL: nothing yet. Good for this turn. */
	const struct cgroup_name *(*cgroup)(void *arg, uint64_t id);
	/* Network interfaces that the daemon knows of. */
	void (*interfaces)(void *arg,
			   void (*visit)(void *visit_arg, const struct control_interface *i),
			   void *visit_arg);
	/* Detach, unpin, forget the state, then end the daemon. */
	int (*uninstall)(void *arg);
};
