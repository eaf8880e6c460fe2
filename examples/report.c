/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP requests that tell Sinew whether they failed, sinew-report(7):
 * cc -o report report.c; ./report ADDRESS PORT TIMES [REPORT_SOCKET] prints the status of each. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#define REPORT "/run/sinew/report.sock"

/* Before close(): the cookie is the connection's. Nobody listens, or a full queue: not our problem.
 */
static void tell(int fd, int failed, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	unsigned long cookie; /* 64 bits */
	socklen_t length = sizeof(cookie);
	char text[64];
	int n, report = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (report < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0)
		return;
	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	n = snprintf(text, sizeof(text), "%s %lu", failed ? "failure" : "success", cookie);
	(void)sendto(report, text, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	close(report);
}

/* The status of "HTTP/1.1 503 ..."; 0: no answer that we understand. */
static int ask(int fd)
{
	char text[1024] = "GET / HTTP/1.0\r\n\r\n";
	int status = 0;

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) > 0 && read(fd, text, 1023) > 12)
		(void)sscanf(text, "HTTP/%*s %d", &status);
	return status;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (argc < 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	for (unsigned long left = strtoul(argv[3], NULL, 10); left; left--) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
		/* A connect that fails the kernel counts by itself. */
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
			status = ask(fd);
			tell(fd, !status || status >= 500, argc > 4 ? argv[4] : REPORT);
		}
		close(fd);
		printf("%d\n", status);
	}
	return 0;
}
