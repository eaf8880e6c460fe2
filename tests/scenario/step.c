/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See step.h. Under the test's own publishing; nothing else writes to the watched memory meanwhile.
 */
#include "step.h"

#include <assert.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/cleanup.h"

#define REGIONS 16

static struct {
	struct {
		char *memory;
		size_t bytes;
	} regions[REGIONS];
	size_t n;
	int open; /* region that the instruction in flight writes to; -1: none */
	void (*look)(void *arg);
	void *arg;
	struct sigaction segv, trap;
} step = {.open = -1};

#ifdef __x86_64__
#define TRAP_FLAG 0x100

bool step_is_possible(void)
{
	return true;
}

static void trap_next(void *context, bool on)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	*flags = on ? *flags | TRAP_FLAG : *flags & ~(greg_t)TRAP_FLAG;
}
#else
bool step_is_possible(void)
{
	return false;
}

static void trap_next(void *context, bool on)
{
	assert(!on);
}
#endif

static void protect(size_t i, int how)
{
	int r = mprotect(step.regions[i].memory, step.regions[i].bytes, how);

	assert(r >= 0);
}

/* A store met a protected page: open it for this one instruction. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	for (size_t i = 0; i < step.n; i++) {
		size_t offset = (size_t)((char *)info->si_addr - step.regions[i].memory);

		if (offset >= step.regions[i].bytes || step.open >= 0)
			continue;
		protect(i, PROT_READ | PROT_WRITE);
		step.open = (int)i;
		trap_next(context, true);
		return;
	}
	/* Not ours: let it happen again, for whoever reports it. */
	(void)sigaction(SIGSEGV, &step.segv, NULL);
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
	assert(step.open >= 0);
	trap_next(context, false);
	protect((size_t)step.open, PROT_READ);
	step.open = -1;
	step.look(step.arg);
}

void step_watch(void *memory, size_t bytes)
{
	assert(step.n < REGIONS);
	step.regions[step.n].memory = memory;
	step.regions[step.n++].bytes = bytes;
}

void step_begin(void (*look)(void *arg), void *arg)
{
	struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	int r;

	step.look = look;
	step.arg = arg;
	r = sigaction(SIGSEGV, &fault, &step.segv);
	assert(r >= 0);
	r = sigaction(SIGTRAP, &trap, &step.trap);
	assert(r >= 0);
	for (size_t i = 0; i < step.n; i++)
		protect(i, PROT_READ);
}

void step_end(void)
{
	for (size_t i = 0; i < step.n; i++)
		protect(i, PROT_READ | PROT_WRITE);
	step.n = 0;
	(void)sigaction(SIGSEGV, &step.segv, NULL);
	(void)sigaction(SIGTRAP, &step.trap, NULL);
}
