/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See kubernetes_exec.h. Before: a kubeconfig that names a plugin. After: what it said is decoded.
 * It must never leave a process behind: a plugin has a session of its own, all of which is killed.
 */
#include "registry/kubernetes_exec.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define PIECE 4096
#define GRACE_MS 500 /* for what it wrote before its end; something else may hold the pipe */

struct kubernetes_exec {
	uv_process_t process;
	uv_pipe_t out;
	uv_timer_t timer;
	unsigned int n_open;
	struct text_buffer said;
	char piece[PIECE];
	bool spawned, exited, eof, ended;
	int error;
	int64_t status;
	int signal;
	kubernetes_exec_done *on_done; /* NULL: nobody waits for it */
	void *arg;
};

/* What any program may need of our environment; a plugin that needs more is given it by the
 * kubeconfig. */
static const char *const inherited[] = {
	"PATH",       "HOME",     "USER",          "LOGNAME",      "LANG",     "LC_ALL",
	"TZ",         "TMPDIR",   "HTTPS_PROXY",   "HTTP_PROXY",   "NO_PROXY", "https_proxy",
	"http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
};

static void on_closed(uv_handle_t *handle)
{
	struct kubernetes_exec *e = handle->data;

	if (--e->n_open)
		return;
	if (e->said.data)
		explicit_bzero(e->said.data, e->said.n);
	text_done(&e->said);
	free(e);
}

static void close_all(struct kubernetes_exec *e)
{
	uv_close((uv_handle_t *)&e->process, on_closed);
	uv_close((uv_handle_t *)&e->out, on_closed);
	uv_close((uv_handle_t *)&e->timer, on_closed);
}

static void kill_all(const struct kubernetes_exec *e)
{
	if (e->spawned)
		(void)kill(-e->process.pid, SIGKILL);
}

static void say(struct kubernetes_exec *e)
{
	char text[100] = "";

	if (!e->error && (e->status || e->signal))
		e->error = -ECHILD;
	if (!e->error && e->said.no_memory)
		e->error = -ENOMEM;
	if (e->error == -ECHILD && e->signal)
		(void)snprintf(text, sizeof(text), "ended by signal %d", e->signal);
	else if (e->error == -ECHILD)
		(void)snprintf(text, sizeof(text), "ended with status %d", (int)e->status);
	else if (e->error == -ETIMEDOUT)
		(void)snprintf(text, sizeof(text), "not done after %d s",
			       KUBERNETES_EXEC_MS / 1000);
	else if (e->error == -EMSGSIZE)
		(void)snprintf(text, sizeof(text), "said more than %u bytes",
			       KUBERNETES_EXEC_BYTES);
	else if (e->error)
		(void)snprintf(text, sizeof(text), "%s", strerror(-e->error));
	e->on_done(e->arg, e->error, e->said.data ?: "", e->said.n, text);
}

/* Once it has ended and all that it wrote is read: never before, or nobody would reap it. */
static void end(struct kubernetes_exec *e)
{
	if (e->ended || !e->exited || (!e->eof && !e->error && e->on_done))
		return;
	e->ended = true;
	if (e->on_done)
		say(e);
	close_all(e);
}

static void on_timer(uv_timer_t *timer)
{
	struct kubernetes_exec *e = timer->data;

	if (e->exited) {
		e->eof = true;
	} else {
		e->error = e->error ? e->error : -ETIMEDOUT;
		kill_all(e);
	}
	end(e);
}

static void on_exit_status(uv_process_t *process, int64_t status, int number)
{
	struct kubernetes_exec *e = process->data;

	e->exited = true;
	e->status = status;
	e->signal = number;
	kill_all(e); /* what it left behind */
	(void)uv_timer_start(&e->timer, on_timer, GRACE_MS, 0);
	end(e);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct kubernetes_exec *e = handle->data;

	*ret = uv_buf_init(e->piece, sizeof(e->piece));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct kubernetes_exec *e = stream->data;

	if (n > 0 && e->said.n + (size_t)n > KUBERNETES_EXEC_BYTES) {
		e->error = -EMSGSIZE;
		kill_all(e);
		(void)uv_read_stop(stream);
	} else if (n > 0) {
		text_append_bytes(&e->said, buf->base, (size_t)n);
	} else if (n < 0) {
		e->eof = true;
		(void)uv_read_stop(stream);
	}
	explicit_bzero(e->piece, sizeof(e->piece));
	end(e);
}

/* --- the beginning --------------------------------------------------------------------------- */

static bool is_given(const struct kubernetes_plugin *p, const char *name)
{
	size_t n = strlen(name);

	for (char **one = p->env; *one; one++) {
		if (!strncmp(*one, name, n) && (*one)[n] == '=')
			return true;
	}
	return false;
}

/* All of its environment; the array and what is ours in it are freed with free_env(). */
static char **make_env(const struct kubernetes_plugin *p, size_t *ret_own)
{
	size_t n = 0, given = 0;
	char **env;

	while (p->env[given])
		given++;
	env = calloc(ARRAY_SIZE(inherited) + given + 1, sizeof(char *));
	for (size_t i = 0; env && i < ARRAY_SIZE(inherited); i++) {
		const char *value = getenv(inherited[i]);

		if (value && !is_given(p, inherited[i]) &&
		    asprintf(&env[n], "%s=%s", inherited[i], value) >= 0)
			n++;
	}
	*ret_own = n;
	for (size_t i = 0; env && i < given; i++)
		env[n++] = p->env[i];
	return env;
}

static void free_env(char **env, size_t own)
{
	for (size_t i = 0; i < own; i++)
		free(env[i]);
	free((void *)env);
}

static int spawn(struct kubernetes_exec *e, uv_loop_t *loop, const struct kubernetes_plugin *p)
{
	uv_stdio_container_t stdio[3] = {
		{.flags = UV_IGNORE},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&e->out},
		{.flags = UV_IGNORE},
	};
	size_t own = 0;
	char **env = make_env(p, &own);
	uv_process_options_t options = {
		.exit_cb = on_exit_status,
		.file = p->args[0],
		.args = p->args,
		.env = env,
		.flags = UV_PROCESS_DETACHED, /* a session of its own */
		.stdio = stdio,
		.stdio_count = 3,
	};
	int r = -ENOMEM;

	/* What libraries opened (libcurl's sockets) is nobody's to inherit, either. */
	if (env && close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
		r = -errno;
	else if (env)
		r = uv_spawn(loop, &e->process, &options);
	free_env(env, own);
	return r;
}

int kubernetes_exec_begin(uv_loop_t *loop, const struct kubernetes_plugin *p,
			  kubernetes_exec_done *on_done, void *arg, struct kubernetes_exec **ret)
{
	struct kubernetes_exec *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	(void)uv_timer_init(loop, &e->timer); /* cannot fail */
	(void)uv_pipe_init(loop, &e->out, 0); /* cannot fail */
	e->n_open = 3;
	e->process.data = e->out.data = e->timer.data = e;
	r = spawn(e, loop, p);
	if (r >= 0) {
		e->spawned = true;
		r = uv_read_start((uv_stream_t *)&e->out, on_alloc, on_read);
	}
	if (r < 0 && !e->spawned) {
		if (!e->process.loop) /* not even begun */
			e->n_open = 2;
		if (e->process.loop)
			uv_close((uv_handle_t *)&e->process, on_closed);
		uv_close((uv_handle_t *)&e->out, on_closed);
		uv_close((uv_handle_t *)&e->timer, on_closed);
		return r;
	}
	e->on_done = on_done;
	e->arg = arg;
	if (r < 0)
		e->error = r;
	(void)uv_timer_start(&e->timer, on_timer, r < 0 ? 0 : KUBERNETES_EXEC_MS, 0);
	*ret = e;
	return 0;
}

struct kubernetes_exec *kubernetes_exec_cancel(struct kubernetes_exec *e)
{
	if (e) {
		e->on_done = NULL;
		kill_all(e);
		end(e);
	}
	return NULL;
}
