/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sinewctl. Everything happens in ctl_main, so that tests can call it.
 */
#include <signal.h>

#include "ctl/ctl.h"

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_DFL); /* "sinewctl events | head" ends quietly */
	return ctl_main(argc, argv, stdout, stderr);
}
