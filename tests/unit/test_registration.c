/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/registration and its codec: what is wrong is told at its place, what is written is read
 * back as the same, the store keeps it like the other kinds, and registries cannot say one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "daemon/statefile.h"
#include "harness/model.h"
#include "model/limits.h"
#include "model/store.h"
#include "registry/registry.h"
#include "unit/folder.h"

static const char *const good =
	"{'apiVersion':'sinew/v1','kind':'Registration','metadata':{'name':'pay','namespace':'shop',"
	"'labels':{'team':'a'}},'spec':{'service':'Payments.v2','registry':'dc1','workload':"
	"{'unit':'payments.service'},'port':8080,'protocol':'tcp','address':'10.0.0.5',"
	"'ttl':'30s','tags':['v2','blue'],'meta':{'b':'2','a':'1'}}}";

static char *mutate(const char *old, const char *new)
{
	const char *at = strstr(good, old);
	struct text_buffer b = {};

	if (!at)
		fail_msg("%s is not in the text", old);
	text_append_bytes(&b, good, (size_t)(at - good));
	text_append(&b, new);
	text_append(&b, at + strlen(old));
	return text_take(&b);
}

static struct object made(const char *old, const char *new, const char *source)
{
	_cleanup_free_ char *text = mutate(old, new);

	return model_object(text, source);
}

static void test_good_is_good(void **state)
{
	struct object o = model_object(good, "manifest");
	const struct registration *r = o.registration;

	assert_int_equal(o.kind, OBJECT_REGISTRATION);
	assert_string_equal(object_namespace(&o), "shop");
	assert_string_equal(object_name(&o), "pay");
	assert_string_equal(r->source, "manifest");
	assert_string_equal(r->service, "Payments.v2");
	assert_string_equal(r->registry, "dc1");
	assert_int_equal(r->by, REGISTRATION_BY_UNIT);
	assert_string_equal(r->workload, "payments.service");
	assert_int_equal(r->port, 8080);
	assert_int_equal(r->proto, SN_PROTO_TCP);
	assert_true(r->has_address);
	assert_int_equal(r->ttl_ms, 30000);
	assert_int_equal(r->n_tags, 2);
	assert_string_equal(r->tags[1], "blue");
	assert_int_equal(r->n_meta, 2);
	assert_string_equal(r->meta[0].key, "a");
	assert_int_equal(r->n_labels, 1);
	object_done(&o);
}

static void test_what_was_left_out_has_its_default(void **state)
{
	struct object o = model_object(
		"{'apiVersion':'sinew/v1','kind':'Registration','metadata':{'name':'pay'},'spec':"
		"{'service':'p','registry':'dc1','workload':{'container':{'app':'pay','tier':''}},"
		"'port':1}}",
		"manifest");
	const struct registration *r = o.registration;

	assert_string_equal(r->namespace, "default");
	assert_false(r->has_address);
	assert_int_equal(r->ttl_ms, 15000);
	assert_int_equal(r->by, REGISTRATION_BY_CONTAINER);
	assert_string_equal(r->workload, "");
	assert_int_equal(r->n_selects, 2);
	assert_string_equal(r->selects[0].value, "pay");
	assert_int_equal(r->n_tags + r->n_meta + r->n_labels, 0);
	object_done(&o);
}

static void test_what_is_wrong_is_told_at_its_place(void **state)
{
	static const struct {
		const char *old, *new, *pointer, *says;
	} rows[] = {
		{"'service':'Payments.v2',", "", "/spec", "service is missing"},
		{"'Payments.v2'", "''", "/spec/service", "letters, digits and"},
		{"'Payments.v2'", "'a b'", "/spec/service", "letters, digits and"},
		{"'Payments.v2'", "'-a'", "/spec/service", "first"},
		{"'registry':'dc1',", "", "/spec", "the name of a registry in agent.yaml"},
		{"'dc1'", "'consul/dc1'", "/spec/registry", "RFC 1123"},
		{"'workload':{'unit':'payments.service'},", "", "/spec", "workload is missing"},
		{"{'unit':'payments.service'}", "{}", "/spec/workload", "exactly one of"},
		{"{'unit':'payments.service'}", "{'unit':'a.service','cgroup':'/a'}",
		 "/spec/workload", "exactly one of"},
		{"{'unit':'payments.service'}", "'payments'", "/spec/workload", "mapping"},
		{"'unit'", "'units'", "/spec/workload/units", "did you mean \"unit\"?"},
		{"payments.service", "payments", "/spec/workload/unit",
		 "did you mean \"payments.service\"?"},
		{"payments.service", "payments.socket", "/spec/workload/unit",
		 ".service or .scope"},
		{"payments.service", "../payments.service", "/spec/workload/unit", ".scope"},
		{"payments.service", "*.service", "/spec/workload/unit", ".scope"},
		{"'unit':'payments.service'", "'cgroup':'shop.slice'", "/spec/workload/cgroup",
		 "beginning with \"/\""},
		{"'unit':'payments.service'", "'cgroup':'/'", "/spec/workload/cgroup", "below"},
		{"'unit':'payments.service'", "'container':{}", "/spec/workload/container",
		 "at least one label"},
		{"'unit':'payments.service'", "'container':['app']", "/spec/workload/container",
		 "container must be a mapping, not a list"},
		{"'unit':'payments.service'", "'pod':'shop/pay'", "/spec/workload/pod", "mapping"},
		{"'unit':'payments.service'", "'pod':{'name':'pay'}", "/spec/workload/pod",
		 "namespace is missing"},
		{"'unit':'payments.service'", "'pod':{'namespace':'*'}",
		 "/spec/workload/pod/namespace", "RFC 1123"},
		{"'unit':'payments.service'", "'pod':{'namespace':'shop','name':'Pay'}",
		 "/spec/workload/pod/name", "a pod's name"},
		{"'unit':'payments.service'", "'pod':{'namespace':'shop','name':''}",
		 "/spec/workload/pod/name", "a pod's name"},
		{"'unit':'payments.service'", "'pod':{'namespace':'shop','labels':{}}",
		 "/spec/workload/pod/labels", "at least one label"},
		{"'unit':'payments.service'", "'pod':{'namespace':'shop','container':'a b'}",
		 "/spec/workload/pod/container", "RFC 1123"},
		{"'unit':'payments.service'", "'pod':{'namespace':'shop','label':{'a':'b'}}",
		 "/spec/workload/pod/label", "did you mean \"labels\"?"},
		{"'unit':'payments.service'", "'unit':'a.service','pod':{'namespace':'shop'}",
		 "/spec/workload", "exactly one of"},
		{"'port':8080,", "", "/spec", "port is missing"},
		{"8080", "0", "/spec/port", "out of range"},
		{"8080", "65536", "/spec/port", "out of range"},
		{"8080", "'8080'", "/spec/port", "must be a number"},
		{"'tcp'", "'udp'", "/spec/protocol", "only of TCP"},
		{"10.0.0.5", "0.0.0.0", "/spec/address", "none that others can connect to"},
		{"10.0.0.5", "host", "/spec/address", "host"},
		{"'30s'", "'1s'", "/spec/ttl", "out of range (3s to 1h)"},
		{"'30s'", "30", "/spec/ttl", "30s"},
		{"['v2','blue']", "'v2'", "/spec/tags", "tags must be a list"},
		{"'blue'", "'v2'", "/spec/tags/1", "given twice"},
		{"'blue'", "''", "/spec/tags/1", "control characters"},
		{"'blue'", "'a\\nb'", "/spec/tags/1", "control characters"},
		{"{'b':'2','a':'1'}", "[]", "/spec/meta", "meta must be a mapping"},
		{"'b':'2'", "'b':2", "/spec/meta/b", "must be a text"},
		{"'port':8080", "'prot':8080", "/spec/prot", "did you mean \"port\"?"},
		{"'meta'", "'x':1,'meta'", "/spec/x", "unknown key"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = mutate(rows[i].old, rows[i].new);
		struct problems problems = {};
		struct object o = {};

		assert_int_equal(model_decode(text, "manifest", &problems, &o), -EINVAL);
		if (!model_has_problem(&problems, rows[i].pointer, rows[i].says))
			fail_msg("in %s", text);
		problems_done(&problems);
	}
}

static void test_all_that_is_wrong_is_told_at_once(void **state)
{
	struct problems problems = {};
	struct object o = {};

	assert_int_equal(model_decode("{'apiVersion':'sinew/v1','kind':'Registration','metadata':"
				      "{'name':'p'},'spec':{'port':0,'ttl':'x'}}",
				      "manifest", &problems, &o),
			 -EINVAL);
	assert_int_equal(problems.n, 5);
	problems_done(&problems);
}

static void test_limits(void **state)
{
	_cleanup_free_ char *tags = NULL, *long_unit = calloc(1, 300);
	struct problems problems = {};
	struct text_buffer b = {};
	struct object o;

	text_append(&b, "['t0'");
	for (int i = 1; i <= LIMIT_TAGS; i++)
		text_append_format(&b, ",'t%d'", i);
	text_append(&b, "]");
	tags = text_take(&b);
	_cleanup_free_ char *many = mutate("['v2','blue']", tags);

	assert_int_equal(model_decode(many, "m", &problems, &o), -EINVAL);
	assert_true(model_has_problem(&problems, "/spec/tags", "at most 32"));
	problems_done(&problems);
	memset(long_unit, 'u', 260);
	_cleanup_free_ char *unit = mutate("payments.service", long_unit);

	problems = (struct problems){};
	assert_int_equal(model_decode(unit, "m", &problems, &o), -EINVAL);
	assert_true(model_has_problem(&problems, "/spec/workload/unit", "255"));
	problems_done(&problems);
}

/* --- equality and text -------------------------------------------------------------------- */

static char *encode(const struct object *o)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *json = codec_encode_object(doc, o);
	char *text;

	assert_non_null(json);
	yyjson_mut_doc_set_root(doc, json);
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	assert_non_null(text);
	return text;
}

static void test_what_is_written_is_read_back_as_the_same(void **state)
{
	static const char *const workloads[] = {
		"{'unit':'payments.service'}",
		"{'unit':'a\\\\x2db@1:2.scope'}",
		"{'cgroup':'/shop.slice/*/[ab]?'}",
		"{'container':{'z':'1','app':'\\u00e4'}}",
		"{'pod':{'namespace':'shop'}}",
		"{'pod':{'namespace':'shop','name':'pay-*','labels':{'z':'1','a/b':''},"
		"'container':'web'}}"};

	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++) {
		struct object first = made("{'unit':'payments.service'}", workloads[i], "a");
		_cleanup_free_ char *once = encode(&first), *twice = NULL;
		struct object second = model_object(once, "b");

		twice = encode(&second);
		assert_string_equal(once, twice);
		assert_true(registration_is_equal(first.registration, second.registration));
		assert_int_equal(first.registration->etag, second.registration->etag);
		object_done(&first);
		object_done(&second);
	}
}

static void test_each_member_of_a_pod_makes_another_tag(void **state)
{
	static const char *const pods[] = {
		"'pod':{'namespace':'shop'}",
		"'pod':{'namespace':'shops'}",
		"'pod':{'namespace':'shop','name':'a'}",
		"'pod':{'namespace':'shop','container':'a'}",
		"'pod':{'namespace':'shop','labels':{'a':''}}",
		"'container':{'a':''}",
	};
	struct object all[ARRAY_SIZE(pods)];

	for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
		all[i] = made("'unit':'payments.service'", pods[i], "a");
		for (size_t k = 0; k < i; k++) {
			assert_false(
				registration_is_equal(all[i].registration, all[k].registration));
			assert_true(all[i].registration->etag != all[k].registration->etag);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
		object_done(&all[i]);
}

static void test_each_member_makes_another_tag(void **state)
{
	static const char *const changes[][2] = {
		{"'pay'", "'pax'"},
		{"'shop'", "'shops'"},
		{"'team':'a'", "'team':'b'"},
		{"Payments.v2", "payments"},
		{"'dc1'", "'dc2'"},
		{"payments.service", "payments.scope"},
		{"{'unit':'payments.service'}", "{'cgroup':'/payments.service'}"},
		{"{'unit':'payments.service'}", "{'container':{'payments.service':''}}"},
		{"{'unit':'payments.service'}", "{'pod':{'namespace':'shop'}}"},
		{"8080", "8081"},
		{"'address':'10.0.0.5',", ""},
		{"10.0.0.5", "10.0.0.6"},
		{"'30s'", "'31s'"},
		{"['v2','blue']", "['blue','v2']"},
		{"['v2','blue']", "['v2']"},
		{"'b':'2'", "'b':'3'"},
	};
	struct object o = model_object(good, "a");

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct object other = made(changes[i][0], changes[i][1], "a");

		if (registration_is_equal(o.registration, other.registration) ||
		    o.registration->etag == other.registration->etag)
			fail_msg("%s for %s is the same", changes[i][1], changes[i][0]);
		object_done(&other);
	}
	object_done(&o);
}

/* --- the store ---------------------------------------------------------------------------- */

static struct store *new_store(void)
{
	struct store_config config = {};
	struct store *s = NULL;

	assert_int_equal(prefix_parse("127.128.0.0/9", &config.pool4), 0);
	assert_int_equal(prefix_parse("fd73:696e:6577::/64", &config.pool6), 0);
	assert_int_equal(store_new(&config, &s), 0);
	return s;
}

static int change(struct store *s, const struct change *change, const char *says)
{
	struct problems problems = {};
	struct plan plan = {};
	int r = store_plan(s, change, &problems, &plan);

	if (r >= 0) {
		r = (int)plan_size(&plan);
		store_commit(s, &plan);
	}
	if (says)
		assert_true(model_has_problem(&problems, "", says));
	else
		assert_false(problems_any(&problems));
	plan_done(&plan);
	problems_done(&problems);
	return r;
}

static void test_the_store_keeps_it_like_the_others(void **state)
{
	_cleanup_(store_freep) struct store *s = new_store();
	struct object o = model_object(good, "manifest"), other = made("8080", "9090", "manifest");
	struct object foreign = made("8080", "7070", "else");
	struct change put = {.source = "manifest", .upserts = &o, .n_upserts = 1};
	struct object_name name = {OBJECT_REGISTRATION, "shop", "pay"};
	struct change take = {.source = "manifest", .deletes = &name, .n_deletes = 1};
	const struct source *sources;
	size_t n;

	assert_int_equal(change(s, &put, NULL), 1);
	assert_int_equal(change(s, &put, NULL), 0);
	assert_ptr_equal(store_find_registration(s, "shop", "pay"), o.registration);
	assert_int_equal(store_etag(s, OBJECT_REGISTRATION, "shop", "pay"), o.registration->etag);
	assert_int_equal(store_etag(s, OBJECT_SERVICE, "shop", "pay"), 0);
	put.upserts = &other;
	assert_int_equal(change(s, &put, NULL), 1);
	assert_int_equal(store_find_registration(s, "shop", "pay")->port, 9090);
	sources = store_sources(s, &n);
	assert_int_equal(n, 1);
	assert_int_equal(sources[0].n_registrations, 1);
	assert_int_equal(sources[0].generation, 2);
	assert_int_equal(
		change(s, &(struct change){.source = "else", .upserts = &foreign, .n_upserts = 1},
		       "registration shop/pay: it belongs to source manifest"),
		-EEXIST);
	assert_int_equal(change(s, &take, NULL), 1);
	assert_int_equal(change(s, &take, "there is no such registration"), -ENOENT);
	(void)store_registrations(s, &n);
	assert_int_equal(n, 0);
	object_done(&o);
	object_done(&other);
	object_done(&foreign);
}

static void test_a_whole_snapshot_without_it_takes_it_back(void **state)
{
	_cleanup_(store_freep) struct store *s = new_store();
	struct object o = model_object(good, "manifest");
	struct change whole = {.source = "manifest", .whole = true, .upserts = &o, .n_upserts = 1};

	assert_int_equal(change(s, &whole, NULL), 1);
	whole.n_upserts = 0;
	assert_int_equal(change(s, &whole, NULL), 1);
	assert_null(store_find_registration(s, "shop", "pay"));
	object_done(&o);
}

static void test_one_too_many_is_refused(void **state)
{
	_cleanup_(store_freep) struct store *s = new_store();
	struct object *all = calloc(LIMIT_REGISTRATIONS + 1, sizeof(*all));
	struct change put = {
		.source = "manifest", .upserts = all, .n_upserts = LIMIT_REGISTRATIONS + 1};
	char name[32];

	for (size_t i = 0; i <= LIMIT_REGISTRATIONS; i++) {
		(void)snprintf(name, sizeof(name), "'pay%zu'", i);
		all[i] = made("'pay'", name, "manifest");
	}
	assert_int_equal(change(s, &put, "at most 4096"), -E2BIG);
	put.n_upserts--;
	assert_int_equal(change(s, &put, NULL), LIMIT_REGISTRATIONS);
	(void)object_free_list(all, LIMIT_REGISTRATIONS + 1);
}

/* --- state -------------------------------------------------------------------------------- */

static void test_it_outlives_the_daemon(void **state)
{
	_cleanup_(store_freep) struct store *s = new_store(), *back = new_store();
	struct object o = model_object(good, "manifest");
	struct change put = {.source = "manifest", .upserts = &o, .n_upserts = 1};
	const char *folder = folder_make();
	struct statefile file = {};
	char kept[PATH_MAX];

	(void)snprintf(kept, sizeof(kept), "%s", folder);
	assert_int_equal(change(s, &put, NULL), 1);
	assert_int_equal(statefile_take(&file, s, "manifest"), 0);
	assert_int_equal(statefile_write(&file, kept), 0);
	statefile_done(&file);
	assert_int_equal(statefile_read(folder_path(kept, "manifest.json"), back), 0);
	assert_true(registration_is_equal(store_find_registration(back, "shop", "pay"),
					  o.registration));
	assert_int_equal(store_generation(back, "manifest"), 1);
	folder_remove(kept);
	object_done(&o);
}

/* --- registries --------------------------------------------------------------------------- */

struct heard {
	size_t objects, upserts;
};

static void on_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	((struct heard *)arg)->objects += n;
	(void)object_free_list(objects, n);
}

static void on_upsert(void *arg, struct registry *r, struct object *object)
{
	((struct heard *)arg)->upserts++;
	object_done(object);
}

static void on_status(void *arg, struct registry *r)
{
}

static void test_a_registry_cannot_say_one(void **state)
{
	struct heard heard = {};
	const struct registry_host host = {
		.arg = &heard, .snapshot = on_snapshot, .upsert = on_upsert, .status = on_status};
	struct registry r = {.host = &host};
	struct object *two = calloc(2, sizeof(*two)), one = model_object(good, "etcd/a");

	two[0] = model_object(good, "etcd/a");
	two[1] = model_object("{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'a'},"
			      "'spec':{'ports':[{'port':80}]}}",
			      "etcd/a");
	registry_say_snapshot(&r, two, 2);
	registry_say_upsert(&r, &one);
	assert_int_equal(heard.objects, 1);
	assert_int_equal(heard.upserts, 0);
	assert_int_equal(r.status.skipped, 2);
	assert_non_null(strstr(r.status.skipped_text, "registration shop/pay"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_is_good),
		cmocka_unit_test(test_what_was_left_out_has_its_default),
		cmocka_unit_test(test_what_is_wrong_is_told_at_its_place),
		cmocka_unit_test(test_all_that_is_wrong_is_told_at_once),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_what_is_written_is_read_back_as_the_same),
		cmocka_unit_test(test_each_member_makes_another_tag),
		cmocka_unit_test(test_each_member_of_a_pod_makes_another_tag),
		cmocka_unit_test(test_the_store_keeps_it_like_the_others),
		cmocka_unit_test(test_a_whole_snapshot_without_it_takes_it_back),
		cmocka_unit_test(test_one_too_many_is_refused),
		cmocka_unit_test(test_it_outlives_the_daemon),
		cmocka_unit_test(test_a_registry_cannot_say_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
