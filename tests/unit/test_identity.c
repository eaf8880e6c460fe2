/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/identity: paths as systemd, engines and the kubelet make them, by either cgroup driver; and
 * such as somebody makes who would like to be somebody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/identity.h"

#define ID "4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab"
#define OTHER "0000c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab"
#define POD "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab"
#define POD_ "0e6ec1f2_6e4e_4c0e_8a6e_0123456789ab"
#define FILE_POD "0123456789abcdef0123456789abcdef"

struct row {
	const char *path, *unit, *container, *pod;
};

static void check(const struct row *row)
{
	struct identity id;

	memset(&id, 'x', sizeof(id));
	identity_parse(row->path, &id);
	if (strcmp(id.unit, row->unit) || strcmp(id.container, row->container) ||
	    strcmp(id.pod, row->pod))
		fail_msg("%s: unit \"%s\" container \"%s\" pod \"%s\"", row->path, id.unit,
			 id.container, id.pod);
}

#define CHECK_ROWS(rows)                                                                           \
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)                                              \
		check(&(rows)[i]);

static void test_units_of_systemd(void **state)
{
	static const struct row rows[] = {
		{"/system.slice/payments.service", "payments.service", "", ""},
		{"/system.slice/payments.service/worker/1", "payments.service", "", ""},
		{"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "",
		 ""},
		{"/shop.slice/shop-a.slice/a\\x2db.service", "a\\x2db.service", "", ""},
		{"/init.scope", "init.scope", "", ""},
		{"/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "", ""},
		{"/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service",
		 "", ""},
		/* what would be taken for a file of the kernel's */
		{"/system.slice/_cgroup.service", "cgroup.service", "", ""},
		{"/system.slice/__odd.service", "_odd.service", "", ""},
		{"/_memory.slice/a.service", "a.service", "", ""},
	};

	CHECK_ROWS(rows);
}

static void test_containers_by_either_driver(void **state)
{
	static const struct row rows[] = {
		{"/system.slice/docker-" ID ".scope", "docker-" ID ".scope", ID, ""},
		{"/machine.slice/libpod-" ID ".scope/container", "libpod-" ID ".scope", ID, ""},
		{"/machine.slice/libpod-conmon-" ID ".scope", "libpod-conmon-" ID ".scope", "", ""},
		{"/system.slice/nerdctl-" ID ".scope", "nerdctl-" ID ".scope", ID, ""},
		{"/docker/" ID, "", ID, ""},
		{"/docker/" ID "/init.scope", "", ID, ""},
		{"/docker/buildkit/" ID, "", "", ""},
		{"/libpod_parent/libpod-" ID, "", ID, ""},
		{"/libpod_parent/conmon", "", "", ""},
	};

	CHECK_ROWS(rows);
}

static void test_pods_by_either_driver(void **state)
{
	static const struct row rows[] = {
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD_
		 ".slice/cri-containerd-" ID ".scope",
		 "cri-containerd-" ID ".scope", ID, POD},
		{"/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" ID ".scope",
		 "crio-" ID ".scope", ID, POD},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" FILE_POD
		 ".slice/docker-" ID ".scope",
		 "docker-" ID ".scope", ID, FILE_POD},
		{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
		 "kubelet-kubepods-burstable-pod" POD_ ".slice/cri-containerd-" ID ".scope",
		 "cri-containerd-" ID ".scope", ID, POD},
		{"/kubepods.slice/kubepods-pod" POD_ ".slice", "", "", POD},
		{"/kubepods/burstable/pod" POD "/" ID, "", ID, POD},
		{"/kubepods/besteffort/pod" POD "/crio-" ID, "", ID, POD},
		{"/kubepods/pod" POD "/" ID "/sub", "", ID, POD},
		{"/kubepods/pod" POD "/crio-conmon-" ID, "", "", POD},
		{"/kubepods/burstable/podlet/" ID, "", "", ""},
		{"/kubepods.slice/kubepods-podlet.slice/a.scope", "a.scope", "", ""},
	};

	CHECK_ROWS(rows);
}

/* Whoever has a subtree delegated names what is below as he likes. */
static void test_the_outermost_decides(void **state)
{
	static const struct row rows[] = {
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/payments.service",
		 "user@1000.service", "", ""},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID
		 ".scope/container",
		 "user@1000.service", "", ""},
		{"/system.slice/evil.service/system.slice/payments.service", "evil.service", "",
		 ""},
		{"/system.slice/evil.service/docker/" ID, "evil.service", "", ""},
		{"/system.slice/docker-" ID ".scope/system.slice/docker-" OTHER ".scope",
		 "docker-" ID ".scope", ID, ""},
		{"/docker/" ID "/docker/" OTHER, "", ID, ""},
		{"/docker/" ID "/kubepods/pod" POD "/" OTHER, "", ID, ""},
		{"/kubepods/pod" POD "/" ID "/pod" FILE_POD "/" OTHER, "", ID, POD},
		{"/lxc.payload.web/system.slice/payments.service", "", "", ""},
		{"/somebody/payments.service", "", "", ""},
	};

	CHECK_ROWS(rows);
}

static void test_what_is_no_name_is_nobody(void **state)
{
	static const struct row rows[] = {
		{"", "", "", ""},
		{"/", "", "", ""},
		{"payments.service", "", "", ""},
		{"//payments.service", "", "", ""},
		{"/.service", "", "", ""},
		{"/_.service", "", "", ""},
		{"/system.slice/.scope", "", "", ""},
		{"/system.slice/a b.service", "", "", ""},
		{"/system.slice/a\xff.service", "", "", ""},
		{"/system.slice/../payments.service", "", "", ""},
		{"/docker/4BF0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab", "", "",
		 ""},
		{"/docker/" ID "0", "", "", ""},
		{"/kubepods/pod0e6ec1f2-6e4e-4c0e-8a6e-0123456789aX/" ID, "", "", ""},
		{"/kubepods/pod0e6ec1f206e4e04c0e08a6e00123456789ab/" ID, "", "", ""},
		{"/kubepods/pod/" ID, "", "", ""},
	};

	CHECK_ROWS(rows);
}

static void test_what_is_too_long_is_nobody(void **state)
{
	char path[600];
	struct identity id;

	memset(path, 'u', sizeof(path));
	memcpy(path, "/", 1);
	memcpy(path + 256 - 7, ".service", 9); /* 256 bytes of a name */
	identity_parse(path, &id);
	assert_string_equal(id.unit, "");
	memmove(path + 1, path + 2, 300);
	identity_parse(path, &id);
	assert_int_equal(strlen(id.unit), LIMIT_UNIT);
}

static void test_what_a_pods_cgroup_could_say_is_a_uid(void **state)
{
	static const struct {
		const char *uid;
		bool is_pod;
	} rows[] = {
		{POD, true},
		{FILE_POD, true},
		{POD_, false}, /* it is told with "-" */
		{"", false},
		{"u", false},
		{POD "0", false},
		{"0E6EC1F2-6E4E-4C0E-8A6E-0123456789AB", false},
		{"0e6ec1f2-6e4e-4c0e-8a6e-0123456789a", false},
		{"0e6ec1f26e4e-4c0e-8a6e-0123456789ab-", false},
		{"0123456789abcdef0123456789abcdeg", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(identity_is_pod(rows[i].uid), rows[i].is_pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units_of_systemd),
		cmocka_unit_test(test_containers_by_either_driver),
		cmocka_unit_test(test_pods_by_either_driver),
		cmocka_unit_test(test_the_outermost_decides),
		cmocka_unit_test(test_what_is_no_name_is_nobody),
		cmocka_unit_test(test_what_is_too_long_is_nobody),
		cmocka_unit_test(test_what_a_pods_cgroup_could_say_is_a_uid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
