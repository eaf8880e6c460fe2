/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What two CPUs do to one connect at once: the refusal that makes it go on, the backend's answer,
 * the application's close, the kernel's. One of them is stopped before and after each of its atomic
 * changes and before each of its look-ups, in turn; the other goes on from there, to its end or to
 * each such place of its own. Whatever the order, each attempt is told once, and nothing stays
 * counted. Care of failover: P-66.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>

#include <bpf/bpf_helpers.h>

/* A place at which the other CPU may have its turn. */
static void point(void);

#define BETWEEN(change)                                                                            \
	({                                                                                         \
		point();                                                                           \
		__typeof__(change) said_ = (change);                                               \
		point();                                                                           \
		said_;                                                                             \
	})
#define __sync_fetch_and_add(...) BETWEEN(__sync_fetch_and_add(__VA_ARGS__))
#define __sync_fetch_and_and(...) BETWEEN(__sync_fetch_and_and(__VA_ARGS__))
#define __sync_fetch_and_or(...) BETWEEN(__sync_fetch_and_or(__VA_ARGS__))
#define __sync_val_compare_and_swap(...) BETWEEN(__sync_val_compare_and_swap(__VA_ARGS__))
#define __sync_lock_test_and_set(...) BETWEEN(__sync_lock_test_and_set(__VA_ARGS__))
#undef bpf_map_lookup_elem
#define bpf_map_lookup_elem(map, key) (point(), core_lookup(core_of(map), key))

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/flow.h"

/* A plain store, which others see as well. */
#define sn_flow_show(...) (point(), sn_flow_show(__VA_ARGS__), point())

#include "core/world.h"

#include "base/cleanup.h"
#include "stage/enlist.h"
#include "stage/failover.h"

#define COOKIE 1
#define PORT bpf_htons(40000)
#define BACKENDS 3

static const struct sn_addr client = {.word_be = {1, 2, 3, 4}};

/* --- what the hooks do, without their contexts: bpf/hook/connect, outcome, failover ------------
 */

static void connect_new(void)
{
	struct sn_service *service = sn_service_at(WORLD_SERVICE);
	struct sn_choice choice = {.service = service, .ask = world_ask()};
	__u64 holder = sn_flow_holder(COOKIE);
	struct sn_flow *flow;

	if (sn_choose_backend(&choice) != SN_R_CONNECTED)
		return;
	flow = sn_flow_claim(COOKIE, holder, NULL);
	sn_book_pick(&choice, flow != NULL);
	if (flow)
		sn_flow_fill(flow, &service->frontend, &choice, SN_FLOW_PICKED, 0);
}

static void syn_leaves(void)
{
	struct sn_flow *flow = sn_flow_find(COOKIE, NULL);

	if (!flow || flow->state != SN_FLOW_PICKED)
		return;
	flow->start_ns = core.now;
	flow->state = SN_FLOW_CONNECTING;
	if (sn_syn_claim(flow, WORLD_SERVICE, &client, PORT, core.now))
		sn_flow_flag_set(flow, SN_FLOW_CLAIMED);
}

/* The client's entry, whatever its peer; NULL: none. */
static struct sn_syn *entry(void)
{
	struct sn_syn *syn;

	for (__u32 i = 0; i < SN_SYN_WAYS; i++) {
		syn = sn_syn_at(sn_syn_bucket(&client, PORT) + i);
		if (syn->cookie && syn->state != SN_SYN_FREE && syn->client_port_be == PORT)
			return syn;
	}
	return NULL;
}

static void syn_passes(void)
{
	struct sn_syn *syn = entry();

	if (syn && sn_syn_move(syn, SN_SYN_CLAIMED, SN_SYN_BUSY))
		sn_syn_show(syn, syn->now_port_be, SN_SYN_SAVED, core.now);
}

/* Finds the next backend for an entry that is ours; its port, 0: none. */
static int go_on(struct sn_syn *syn)
{
	__u32 next = sn_failover_pick(syn, core.now);

	if (!next || !sn_failover_move(syn, next, SN_R_REFUSED, core.now))
		return 0;
	syn->now = sn_backend_at(next)->addr;
	if (!syn->moves)
		sn_moved_add(1);
	syn->moves++;
	return sn_backend_at(next)->port_be;
}

static void refusal_passes(void)
{
	struct sn_syn *syn = entry();
	__u8 state = SN_SYN_SAVED;
	int port;

	if (syn && !sn_syn_move(syn, SN_SYN_SAVED, SN_SYN_BUSY))
		state = sn_syn_move(syn, SN_SYN_MOVED, SN_SYN_BUSY) ? SN_SYN_MOVED : SN_SYN_FREE;
	if (!syn || state == SN_SYN_FREE)
		return;
	port = go_on(syn);
	sn_syn_show(syn, port ?: syn->now_port_be, port ? SN_SYN_MOVED : state, core.now);
}

static void entry_ends(void)
{
	sn_syn_end(&client, PORT, COOKIE, core.now);
}

/* The answer passes, and the socket has it. */
static void answer_comes(void)
{
	struct sn_syn *syn = entry();
	struct sn_flow *flow;

	if (syn && syn->state == SN_SYN_BUSY)
		return;
	if (syn && !sn_syn_move(syn, SN_SYN_SAVED, SN_SYN_ANSWERED))
		sn_syn_move(syn, SN_SYN_MOVED, SN_SYN_ANSWERED);
	flow = sn_flow_find(COOKIE, NULL);
	if (!flow)
		return;
	if (flow->flags & SN_FLOW_CLAIMED)
		sn_flow_settle(flow);
	if (!sn_flow_answer(flow, core.now) || !(flow->flags & SN_FLOW_CLAIMED) ||
	    flow->flags & SN_FLOW_MOVED)
		return;
	sn_flow_flag_clear(flow, SN_FLOW_CLAIMED);
	entry_ends();
}

static void released(void)
{
	struct sn_flow *flow = sn_flow_find(COOKIE, NULL);

	if (flow)
		sn_flow_end(flow, COOKIE, 0, 0);
}

static void tcp_closed(void)
{
	struct sn_flow *flow = sn_flow_find(COOKIE, NULL);
	int is_listed = flow ? flow->flags & SN_FLOW_CLAIMED : sn_flow_was_listed(COOKIE);

	if (flow)
		sn_flow_end(flow, COOKIE, SN_ECONNREFUSED, 0);
	if (is_listed)
		entry_ends();
}

/* The application's last close. */
static void closed(void)
{
	released();
	tcp_closed();
}

/* Ended by somebody else, and used anew by the application. */
static void again(void)
{
	tcp_closed();
	connect_new();
	syn_leaves();
	syn_passes();
}

static void again_refused(void)
{
	again();
	refusal_passes();
	answer_comes();
}

static void again_and_closed(void)
{
	again();
	answer_comes();
	closed();
}

/* --- two CPUs --------------------------------------------------------------------------------- */

static struct cpu {
	void (*run)(void);
	struct cpu *other;
	pthread_t thread;
	sem_t turn;
	int left;  /* points until the other one has its turn; < 0: it has it at the end */
	int then;  /* the same, once it has the turn again */
	int count; /* points that were passed */
	bool is_done, is_off;
} cpus[2];
static sem_t both_done;
static __thread struct cpu *self;

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		;
}

static void point(void)
{
	struct cpu *c = self;

	if (!c)
		return;
	c->count++;
	if (c->left < 0 || c->left-- > 0 || c->other->is_done)
		return;
	(void)sem_post(&c->other->turn);
	wait_for(&c->turn);
	c->left = c->then;
	c->then = -1;
}

static void *cpu_main(void *arg)
{
	struct cpu *c = self = arg;

	for (wait_for(&c->turn); !c->is_off; wait_for(&c->turn)) {
		c->run();
		c->is_done = true;
		(void)sem_post(c->other->is_done ? &both_done : &c->other->turn);
	}
	return NULL;
}

/* The first one to `a`, the second one to `b`, the first one `c` further, the second one to its
 * end, the first one, too. < 0: to its end. */
static void run_both(void (*const run[2])(void), int a, int b, int c)
{
	for (int i = 0; i < 2; i++) {
		cpus[i].run = run[i];
		cpus[i].left = i ? b : a;
		cpus[i].then = i ? -1 : c;
		cpus[i].count = 0;
		cpus[i].is_done = false;
	}
	(void)sem_post(&cpus[0].turn);
	wait_for(&both_done);
}

static void world_once(void)
{
	world_begin(1);
	core_resize(core_of(&sn_syns), (sn_syn_mask + 1) * SN_SYN_WAYS);
	*world_policy() = (struct sn_policy){.algorithm = SN_ALGORITHM_RANDOM,
					     .flags = SN_POLICY_FAIL_REFUSED,
					     .attempts = 2,
					     .limit_backend = 100,
					     .limit_service = 100,
					     .limit_pending = 100};
	world_simple(BACKENDS, NULL);
}

static int cpus_begin(void **state)
{
	world_once();
	(void)sem_init(&both_done, 0, 0);
	for (int i = 0; i < 2; i++) {
		cpus[i] = (struct cpu){.other = &cpus[!i]};
		(void)sem_init(&cpus[i].turn, 0, 0);
		if (pthread_create(&cpus[i].thread, NULL, cpu_main, &cpus[i]))
			return -1;
	}
	return 0;
}

static int cpus_end(void **state)
{
	for (int i = 0; i < 2; i++) {
		cpus[i].is_off = true;
		(void)sem_post(&cpus[i].turn);
		(void)pthread_join(cpus[i].thread, NULL);
	}
	core_end();
	return 0;
}

/* --- every order ------------------------------------------------------------------------------ */

/* What an order can have left; everything would take too long a hundred thousand times. */
static void begin(void)
{
	*sn_moved_count() = 0;
	*sn_flow_slot(COOKIE) = (struct sn_flow){};
	*sn_svc_state_at(WORLD_SERVICE) = (struct sn_svc_state){};
	for (__u32 i = 0; i < SN_SYN_WAYS; i++)
		*sn_syn_at(sn_syn_bucket(&client, PORT) + i) = (struct sn_syn){};
	for (__u32 i = 0; i < BACKENDS; i++)
		*sn_health_at(WORLD_FIRST + i) = (struct sn_health){};
}

/* Everything has ended: what is left? NULL: nothing. */
static const char *find_wrong(void)
{
	const struct sn_svc_state *state = sn_svc_state_at(WORLD_SERVICE);
	const struct sn_flow *flow = sn_flow_slot(COOKIE);
	__u64 attempts = 0, told = 0, ns = 0;
	static char text[200];
	__u32 active = 0;

	for (__u32 i = 0; i < BACKENDS; i++) {
		const struct sn_health *health = sn_health_at(WORLD_FIRST + i);

		active += health->active;
		attempts += health->attempts;
		ns += health->connect_ns;
		for (int k = 0; k < SN_R_BACKEND_MAX; k++)
			told += health->outcome[k];
	}
	if (!active && attempts == told && !ns && !state->active && !state->pending &&
	    !flow->cookie)
		return NULL;
	(void)snprintf(
		text, sizeof(text),
		"active %u, %llu attempts, %llu told in %llu ns, limits %u and %u, flow %llx",
		active, (unsigned long long)attempts, (unsigned long long)told,
		(unsigned long long)ns, state->active, state->pending,
		(unsigned long long)flow->cookie);
	return text;
}

struct story {
	const char *name;
	void (*before[5])(void);
	void (*run[2])(void);
};

static void tell(const struct story *s, int a, int b, int c)
{
	const char *wrong;

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(s->before) && s->before[i]; i++)
		s->before[i]();
	run_both(s->run, a, b, c);
	closed();
	wrong = find_wrong();
	if (wrong)
		fail_msg("%s, at %d, %d and %d: %s", s->name, a, b, c, wrong);
}

/* In every order of at most three turns. */
static void tell_all(const struct story *s)
{
	unsigned int orders = 0;

	for (int a = 0, n = 1; a < n; a++)
		for (int b = -1, m = 0; b < m; b++, orders++) {
			tell(s, a, b, -1);
			n = cpus[0].count > n ? cpus[0].count : n;
			m = cpus[1].count > m ? cpus[1].count : m;
		}
	print_message("# %s: %u orders\n", s->name, orders);
	assert_true(orders > 20);
}

#define CONNECTING connect_new, syn_leaves, syn_passes

static void test_p66_a_connect_that_goes_on_and_its_end(void **state)
{
	static const struct story stories[] = {
		{"refused, closed", {CONNECTING}, {refusal_passes, closed}},
		{"closed, refused", {CONNECTING}, {closed, refusal_passes}},
		{"refused, ended", {CONNECTING}, {refusal_passes, tcp_closed}},
		{"ended, refused", {CONNECTING}, {tcp_closed, refusal_passes}},
		{"refused, answered", {CONNECTING}, {refusal_passes, answer_comes}},
		{"answered, refused", {CONNECTING}, {answer_comes, refusal_passes}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(stories); i++)
		tell_all(&stories[i]);
}

static void test_p66_a_socket_that_is_used_again_meanwhile(void **state)
{
	static const struct story stories[] = {
		{"refused, again refused", {CONNECTING}, {refusal_passes, again_refused}},
		{"refused, again and closed", {CONNECTING}, {refusal_passes, again_and_closed}},
		{"answered, again", {CONNECTING, refusal_passes}, {answer_comes, again_refused}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(stories); i++)
		tell_all(&stories[i]);
}

/* Two that both find that the other one has come must not both make room for the next holder. */
static void test_p66_a_slot_is_opened_once(void **state)
{
	static const struct story story = {"refused, again", {CONNECTING}, {refusal_passes, again}};

	for (int a = 0, n = 1; a < n; a++)
		for (int b = 0; b < 20; b++)
			for (int c = 0; c < 40; c++) {
				tell(&story, a, b, c);
				n = cpus[0].count > n ? cpus[0].count : n;
			}
}

static void test_p66_an_answer_and_an_end(void **state)
{
	static const struct story stories[] = {
		{"answered, closed", {CONNECTING}, {answer_comes, closed}},
		{"closed, answered", {CONNECTING}, {closed, answer_comes}},
		{"moved, answered, closed", {CONNECTING, refusal_passes}, {answer_comes, closed}},
		{"moved, closed, answered", {CONNECTING, refusal_passes}, {closed, answer_comes}},
		{"closed, ended", {CONNECTING, refusal_passes, answer_comes}, {closed, tcp_closed}},
		{"ended, closed", {CONNECTING, refusal_passes, answer_comes}, {tcp_closed, closed}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(stories); i++)
		tell_all(&stories[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p66_a_connect_that_goes_on_and_its_end),
		cmocka_unit_test(test_p66_a_socket_that_is_used_again_meanwhile),
		cmocka_unit_test(test_p66_a_slot_is_opened_once),
		cmocka_unit_test(test_p66_an_answer_and_an_end),
	};

	return cmocka_run_group_tests(tests, cpus_begin, cpus_end);
}
