/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a state file. A file that is refused leaves the store as it was; one that is taken gives
 * its source a generation.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/statefile.h"
#include "fuzz/require.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What is refused is logged, which here would be all that happens. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", (enum log_level)0, LOG_FORMAT_TEXT);
	return 0;
}

static void check_store(const struct store *store, int r)
{
	size_t n_services, n_policies, n_sources;

	(void)store_services(store, &n_services);
	(void)store_policies(store, &n_policies);
	(void)store_sources(store, &n_sources);
	REQUIRE(r >= 0 || (n_services == 0 && n_policies == 0));
	REQUIRE(n_sources || (n_services == 0 && n_policies == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_config config = {};
	struct store *store = NULL;
	int fd = memfd_create("state", MFD_CLOEXEC), r;
	char path[64];

	REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	REQUIRE(prefix_parse("127.128.0.0/9", &config.pool4) >= 0);
	REQUIRE(prefix_parse("fd73:696e:6577::/64", &config.pool6) >= 0);
	REQUIRE(store_new(&config, &store) >= 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = statefile_read(path, store);
	check_store(store, r);
	(void)store_free(store);
	(void)close(fd);
	return 0;
}
