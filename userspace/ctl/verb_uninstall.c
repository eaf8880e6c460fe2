/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uninstall: asks the person, then the daemon; without a daemon its program does it alone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/report.h"
#include "ctl/verb.h"

/* "y" or "yes"; a script has to say --yes. */
static int confirm(struct ctl *c)
{
	char answer[16] = "";

	if (c->o.yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return report_usage(
			c, "uninstall asks first, and nobody is there to answer: give --yes");
	fputs("This detaches every program of Sinew from this host and forgets all services. Services\n"
	      "can then only be reached by their real addresses. Go on? [y/N] ",
	      c->err);
	(void)fflush(c->err);
	if (fgets(answer, sizeof(answer), stdin) &&
	    (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
		return 0;
	fputs("nothing was done\n", c->err);
	return -ECANCELED;
}

/* The daemon's program beside this one, or where it is installed. Returns only on failure. */
static int run_daemon(struct ctl *c)
{
	char self[4096], path[4096 + 16];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	(void)fflush(c->out);
	report_note(c, "no daemon answers; running sinewd --uninstall");
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		(void)snprintf(path, sizeof(path), "%s/sinewd", self);
		(void)execl(path, "sinewd", "--uninstall", (char *)NULL);
	}
	(void)execl(SINEW_PREFIX "/sbin/sinewd", "sinewd", "--uninstall", (char *)NULL);
	(void)execlp("sinewd", "sinewd", "--uninstall", (char *)NULL);
	return report_error(c, -ENOTCONN,
			    "sinewd could not be run: %s; run \"sinewd --uninstall\" "
			    "with the settings that the daemon had",
			    strerror(errno));
}

int verb_uninstall_run(void *ctl)
{
	struct ctl *c = ctl;
	struct client_path path;
	struct client_change change = {.method = "POST", .path = &path};
	yyjson_doc *doc = NULL;
	int r;

	r = confirm(c);
	if (r < 0)
		return r;
	client_path_init(&path, "/v1/uninstall");
	r = client_send(c, &change, &doc);
	yyjson_doc_free(doc);
	if (r == -ENOTCONN && c->o.socket) {
		/* Without settings it would remove what belongs to another instance. */
		report_note(
			c,
			"if it has stopped: run \"sinewd --uninstall\" with the settings that it had");
		return r;
	}
	if (r == -ENOTCONN)
		return run_daemon(c);
	if (r < 0)
		return r;
	fputs("uninstalled: programs detached, pins and state removed, daemon ending\n", c->out);
	return 0;
}
