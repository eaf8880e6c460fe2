/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/docker_decode and docker_service: what a real Docker Engine 20.10 and a real Podman 4.3
 * answered (tests/fuzz/corpus), and rows of labels. Rows have ' in place of ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "registry/docker_service.h"
#include "unit/recorded.h"

static struct docker_list recorded_list(const char *name)
{
	struct docker_list l = {};
	char error[JSON_ERROR];
	size_t n;
	_cleanup_free_ char *text = recorded_read(name, &n);

	assert_int_equal(docker_decode_list(text, n, &l, error), 0);
	return l;
}

static struct docker_list recorded_container(const char *name)
{
	struct docker_list l = {};
	char error[JSON_ERROR];
	size_t n;
	_cleanup_free_ char *text = recorded_read(name, &n);

	assert_int_equal(docker_decode_container(text, n, &l, error), 0);
	assert_int_equal(l.n, 1);
	return l;
}

static char *quoted(const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	return copy;
}

/* What became of a list, as "namespace/name[ports] address:port*weight@zone ... | ..." */
static struct {
	char text[2000];
	char left[160];
	size_t left_out;
} made;

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...)
{
	size_t n = strlen(made.text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(made.text + n, sizeof(made.text) - n, format, args);
	va_end(args);
}

static void tell(const struct service *s)
{
	char address[ADDRESS_TEXT];

	add("%s%s/%s[", *made.text ? " | " : "", s->namespace, s->name);
	for (size_t i = 0; i < s->n_ports; i++)
		add("%s%s:%u/%s", i ? "," : "", s->ports[i].name, s->ports[i].port,
		    s->ports[i].proto == SN_PROTO_UDP ? "udp" : "tcp");
	add("]");
	for (size_t i = 0; i < s->n_endpoints; i++) {
		const struct endpoint *e = &s->endpoints[i];

		add(" %s", address_format(&e->addr, address));
		for (size_t k = 0; k < s->n_ports; k++)
			add(":%u", service_target(s, i, k));
		add("*%u", e->weight);
		if (e->zone)
			add("@%s", s->zones[e->zone - 1]);
		assert_true(e->instance);
	}
	if (strcmp(s->policy, "default") != 0)
		add(" policy %s", s->policy);
	assert_string_equal(s->source, "docker/t");
}

static void make(const struct docker_list *l)
{
	const struct docker_container *all[64];
	struct docker_wish wish = {.tag = "docker/t", .namespace = "default", .zone = "z"};
	struct object *objects;
	size_t n;

	memset(&made, 0, sizeof(made));
	assert_int_equal(draft_new(&wish.draft), 0);
	assert_int_equal(address_parse("10.9.9.9", &wish.node), 0);
	for (size_t i = 0; i < l->n; i++)
		all[i] = &l->items[i];
	assert_int_equal(docker_services(&wish, all, l->n, &objects, &n), 0);
	for (size_t i = 0; i < n; i++)
		tell(objects[i].service);
	(void)object_free_list(objects, n);
	draft_free(wish.draft);
	made.left_out = wish.left_out;
	(void)snprintf(made.left, sizeof(made.left), "%s", wish.text);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_a_real_list_of_the_engine(void **state)
{
	struct docker_list l = recorded_list("docker/docker-running.json");
	bool unwell = false;

	assert_int_equal(l.n, 5);
	for (size_t i = 0; i < l.n; i++) {
		assert_non_null(l.items[i].mode); /* nothing has to be inspected */
		if (!strcmp(l.items[i].name, "sick"))
			unwell = l.items[i].unwell;
		if (!strcmp(l.items[i].name, "still"))
			assert_string_equal(l.items[i].state, "paused");
	}
	assert_true(unwell);
	make(&l);
	/* Paused and sick ones are no backends; without a network there is no address. */
	assert_string_equal(made.text, "default/alone[:0/tcp] | default/pay[:0/tcp] "
				       "10.9.9.9:8080*100@z 10.9.9.9:8081*50@z");
	assert_int_equal(made.left_out, 1);
	assert_non_null(strstr(made.left, "alone: it has no address"));
	docker_list_done(&l);
}

static void test_a_real_list_of_podman_needs_inspection(void **state)
{
	struct docker_list l = recorded_list("docker/podman-running.json"), one;

	assert_int_equal(l.n, 4); /* it leaves paused ones out */
	for (size_t i = 0; i < l.n; i++)
		assert_null(l.items[i].mode);
	docker_list_done(&l);
	one = recorded_container("docker/podman-sick.json");
	assert_true(one.items->unwell);
	assert_string_equal(one.items->name, "sick");
	assert_string_equal(one.items->mode, "host");
	assert_string_equal(one.items->state, "running");
	assert_string_equal(one.items->labels[DOCKER_COMPOSE], "pay");
	docker_list_done(&one);
	one = recorded_container("docker/podman-shared.json");
	assert_false(one.items->unwell); /* a check of "" is none */
	assert_true(!strncmp(one.items->mode, "container:", 10));
	docker_list_done(&one);
	one = recorded_container("docker/docker-sick.json");
	assert_true(one.items->unwell);
	docker_list_done(&one);
}

static void test_addresses_are_those_of_its_network(void **state)
{
	struct docker_list l = recorded_list("docker/bridge.json");

	assert_int_equal(l.items[0].n_networks, 2);
	assert_string_equal(l.items[0].networks[0].name, "back");
	assert_int_equal(l.items[0].n_ports, 1); /* published for each family, and yet one */
	make(&l);
	/* The first network by name; the second container is still starting. */
	assert_string_equal(made.text, "shop/pay[:0/tcp] fd01::3:8080*100@a policy gentle");
	docker_list_done(&l);
}

/* %1: labels; %2: more of the container. */
#define ROW                                                                                        \
	"[{'Id':'a1','Names':['/one'],'State':'running','Status':'Up','HostConfig':{"              \
	"'NetworkMode':'n'},'NetworkSettings':{'Networks':{'n':{'IPAddress':'10.0.0.1'},'o':{"     \
	"'IPAddress':'10.0.1.1'}}},'Ports':[{'PrivatePort':80,'Type':'tcp'}],'Labels':{%s}}%s]"

static const struct {
	const char *labels, *more, *text, *left;
} label_rows[] = {
	{"", "", "", ""},
	{"'sinew.service':'pay'", "", "default/pay[:0/tcp] 10.0.0.1:80*100@z", ""},
	{"'sinew.service':'pay','sinew.enable':'false'", "", "", ""},
	{"'sinew.enable':'true'", "", "default/one[:0/tcp] 10.0.0.1:80*100@z", ""},
	{"'sinew.enable':'1','com.docker.compose.service':'Web_1'", "",
	 "default/web-1[:0/tcp] 10.0.0.1:80*100@z", ""},
	{"'com.docker.compose.service':'web'", "", "", ""},
	{"'sinew.service':'pay','sinew.namespace':'shop','sinew.zone':'b','sinew.weight':'0'", "",
	 "shop/pay[:0/tcp] 10.0.0.1:80*0@b", ""},
	{"'sinew.service':'pay','sinew.weight':'heavy'", "",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z",
	 "container one: sinew.weight is \"heavy\", not 0 to 65535: taken as 100"},
	{"'sinew.service':'pay','sinew.weight':'65536'", "",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z", "65536"},
	{"'sinew.service':'pay','sinew.port':'53','sinew.protocol':'UDP'", "",
	 "default/pay[:0/udp] 10.0.0.1:53*100@z", ""},
	{"'sinew.service':'pay','sinew.protocol':'sctp'", "", "",
	 "container one: sinew.protocol is \"sctp\", not tcp or udp"},
	{"'sinew.service':'pay','sinew.port':'http:8080, metrics:9090/tcp,dns:53/udp'", "",
	 "default/pay[dns:53/udp,http:8080/tcp,metrics:9090/tcp] "
	 "10.0.0.1:53:8080:9090*100@z",
	 ""},
	{"'sinew.service':'pay','sinew.port':'1,2/udp'", "",
	 "default/pay[tcp-1:1/tcp,udp-2:2/udp] 10.0.0.1:1:2*100@z", ""},
	{"'sinew.service':'pay','sinew.port':'1,1'", "", "", "names a port twice"},
	{"'sinew.service':'pay','sinew.port':'0'", "", "", "sinew.port is \"0\""},
	{"'sinew.service':'pay','sinew.port':'80 80'", "", "default/pay[:0/tcp] 10.0.0.1:80*100@z",
	 ""},
	{"'sinew.service':'pay','sinew.port':'-80'", "", "", "sinew.port is \"-80\""},
	{"'sinew.service':'pay','sinew.port':'65536'", "", "", "sinew.port is \"65536\""},
	{"'sinew.service':'pay','sinew.port':'80/icmp'", "", "", "sinew.port is"},
	{"'sinew.service':'pay','sinew.port':''", "", "default/pay[:0/tcp] 10.0.0.1:80*100@z", ""},
	{"'sinew.service':'pay','sinew.network':'o'", "", "default/pay[:0/tcp] 10.0.1.1:80*100@z",
	 ""},
	{"'sinew.service':'pay','sinew.network':'q'", "", "default/pay[:0/tcp]",
	 "container one: it has no address in q"},
	{"'sinew.service':'a/b'", "", "", "\"a/b\" in \"default\" is no name of a service"},
	{"'sinew.service':3", "", "", ""},
	/* Other containers: another port, ports of another kind, no port, a circle. */
	{"'sinew.service':'pay'",
	 ",{'Id':'b2','State':'running','HostConfig':{'NetworkMode':'host'},'Labels':{"
	 "'sinew.service':'pay','sinew.port':'81'}}",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z 10.9.9.9:81*100@z", ""},
	{"'sinew.service':'pay'",
	 ",{'Id':'b2','State':'running','HostConfig':{'NetworkMode':'host'},'Labels':{"
	 "'sinew.service':'pay','sinew.port':'81,82'}}",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z",
	 "container b2: its ports are not those of most of pay"},
	{"'sinew.service':'pay'",
	 ",{'Id':'b2','State':'running','HostConfig':{'NetworkMode':'host'},'Labels':{"
	 "'sinew.service':'pay'}}",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z",
	 "container b2: it exposes 0 ports, and no label sinew.port says which"},
	{"'sinew.service':'pay'",
	 ",{'Id':'b2','State':'running','HostConfig':{'NetworkMode':'container:b2'},"
	 "'Labels':{'sinew.service':'pay','sinew.port':'81'}}",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z", "b2: it has no address"},
	{"'sinew.service':'pay'",
	 ",{'Id':'b2','State':'running','HostConfig':{'NetworkMode':'container:a1'},"
	 "'Labels':{'sinew.service':'pay','sinew.port':'81'}}",
	 "default/pay[:0/tcp] 10.0.0.1:80*100@z 10.0.0.1:81*100@z", ""},
	{"'sinew.service':'pay'",
	 ",{'Id':'b2','State':'restarting','HostConfig':{'NetworkMode':'host'},'Labels':{"
	 "'sinew.service':'cart','sinew.port':'81'}}",
	 "default/cart[:0/tcp] | default/pay[:0/tcp] 10.0.0.1:80*100@z", ""},
};

static void test_labels_decide(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(label_rows); i++) {
		struct docker_list l;
		char row[2000], error[JSON_ERROR] = "";
		_cleanup_free_ char *text = NULL;

		(void)snprintf(row, sizeof(row), ROW, label_rows[i].labels, label_rows[i].more);
		text = quoted(row);
		assert_int_equal(docker_decode_list(text, strlen(text), &l, error), 0);
		make(&l);
		docker_list_done(&l);
		if (strcmp(made.text, label_rows[i].text) != 0 ||
		    !strstr(made.left, label_rows[i].left) || (!*label_rows[i].left && *made.left))
			fail_msg("%s %s: %s (%s)", label_rows[i].labels, label_rows[i].more,
				 made.text, made.left);
	}
}

static void test_what_is_no_list_is_told(void **state)
{
	static const char *const rows[] = {"",     "{}",  "[", "null", "[]x", "{'message':'x'}",
					   "'[]'", "[1,]"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i]);
		char error[JSON_ERROR] = "";
		struct docker_list l;

		assert_int_equal(docker_decode_list(text, strlen(text), &l, error), -EBADMSG);
		assert_true(*error);
		assert_int_equal(docker_decode_container(text, strlen(text), &l, error), -EBADMSG);
	}
}

static void test_objects_without_an_id_are_counted(void **state)
{
	_cleanup_free_ char *text = quoted(
		"[{}, {'Id':''}, {'Id':7}, null, {'Id':'x'}, {'Id':'a','Names':[3],'Labels':3,"
		"'Ports':{},'NetworkSettings':[],'HostConfig':7}]");
	char error[JSON_ERROR];
	struct docker_list l;

	assert_int_equal(docker_decode_list(text, strlen(text), &l, error), 0);
	assert_int_equal(l.n, 2);
	assert_int_equal(l.skipped, 4);
	assert_string_equal(l.items[0].id, "a");
	assert_non_null(docker_list_find(&l, "x"));
	assert_null(docker_list_find(&l, "y"));
	docker_list_done(&l);
}

/* Which of these tell that a list may be another now. */
static void count_events(const char *name, size_t *ret_all, size_t *ret_matter)
{
	size_t n;
	_cleanup_free_ char *text = recorded_read(name, &n);
	struct docker_event e;
	char *line = text, *rest = text;

	*ret_all = *ret_matter = 0;
	while ((line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		assert_int_equal(docker_decode_event(line, strlen(line), &e), 0);
		assert_true(e.time_ns > 1700000000ull * 1000000000);
		++*ret_all;
		*ret_matter += e.matters;
		if (e.matters)
			assert_int_equal(strlen(e.id), 64);
	}
}

static void test_real_events_tell_what_matters(void **state)
{
	size_t all, matter;

	count_events("docker/docker-events.stream", &all, &matter);
	print_message("docker: %zu of %zu\n", matter, all);
	assert_true(matter >= 7 && matter < all);
	count_events("docker/podman-events.stream", &all, &matter);
	print_message("podman: %zu of %zu\n", matter, all);
	assert_true(matter >= 5 && matter < all);
}

static void test_events_are_sorted_out(void **state)
{
	static const struct {
		const char *text;
		int r;
		bool matters;
		const char *id;
	} rows[] = {
		{"{'Type':'container','Action':'start','Actor':{'ID':'a'},'timeNano':5}", 0, true,
		 "a"},
		{"{'Type':'container','Action':'health_status: healthy','Actor':{'ID':'a'},"
		 "'timeNano':5}",
		 0, true, "a"},
		{"{'Type':'container','Action':'exec_start: sh','Actor':{'ID':'a'},'timeNano':5}",
		 0, false, "a"},
		{"{'Type':'network','Action':'connect','Actor':{'ID':'n','Attributes':{"
		 "'container':'b'}},'timeNano':5}",
		 0, true, "b"},
		{"{'Type':'network','Action':'create','Actor':{'ID':'n'},'timeNano':5}", 0, false,
		 ""},
		{"{'Type':'image','Action':'pull','timeNano':5}", 0, false, ""},
		{"{'Type':'container','Action':'start','timeNano':5}", 0, false, ""},
		{"{'Action':'start'}", -EBADMSG, false, ""},
		{"{'Type':'container'", -EBADMSG, false, ""},
		{"[]", -EBADMSG, false, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		struct docker_event e = {};

		assert_int_equal(docker_decode_event(text, strlen(text), &e), rows[i].r);
		assert_int_equal(e.matters, rows[i].matters);
		assert_string_equal(e.id, rows[i].id);
		assert_int_equal(e.time_ns, rows[i].r < 0 ? 0 : 5);
	}
}

static void test_the_message_of_a_refusal(void **state)
{
	char message[160];
	size_t n;
	_cleanup_free_ char *text = recorded_read("docker/docker-missing.json", &n);

	docker_decode_message(text, n, message);
	assert_string_equal(message, "No such container: none");
	docker_decode_message("page not found\n", 15, message);
	assert_string_equal(message, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_real_list_of_the_engine),
		cmocka_unit_test(test_a_real_list_of_podman_needs_inspection),
		cmocka_unit_test(test_addresses_are_those_of_its_network),
		cmocka_unit_test(test_labels_decide),
		cmocka_unit_test(test_what_is_no_list_is_told),
		cmocka_unit_test(test_objects_without_an_id_are_counted),
		cmocka_unit_test(test_real_events_tell_what_matters),
		cmocka_unit_test(test_events_are_sorted_out),
		cmocka_unit_test(test_the_message_of_a_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
