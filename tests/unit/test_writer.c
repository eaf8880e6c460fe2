/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The writers: what Eureka and etcd are asked, and what the credentials of a registry do.
 */
#include "registering.h"

static void test_eureka(void **state)
{
	wait_ms(1);
	answer("GET http://e:1/apps", 404, "");
	answer("GET http://e:1/eureka/apps", 200, "{\"applications\":{}}");
	want(1, "pay");
	tell(true);
	answer("POST http://e:1/eureka/apps/PAY", 204, "");
	tell(true);
	answer("DELETE http://e:1/eureka/apps/PAY/sinew%3An1%3Apay%3A10.0.0.5%3A80", 200, "");
	assert_null(asked("POST http://e"));
}

/* The server is at the last of the places where it may be, and several ask at once. */
static void test_several_that_look_for_a_eureka_find_it(void **state)
{
	static const char v2[] = "POST http://e:1/eureka/v2/apps/";

	for (char c = 'a'; c <= 'd'; c++)
		want(1, (char[]){c, 0});
	tell(true);
	for (size_t i = 0; i < wire.n; i++) {
		struct fetch *x = &wire.asked[i];
		bool found = strstr(x->what, "/eureka/v2/") != NULL;

		if (x->under_way && strstr(x->what, "e:1"))
			answer(x->what, found ? 200 : 404,
			       found && *x->what == 'G' ? "{\"applications\":{}}" : "");
	}
	assert_null(strstr(said, "failing"));
	*said = '\0';
	tag = (char *)"v2";
	for (char c = 'a'; c <= 'd'; c++)
		want(1, (char[]){c, 0});
	tell(true);
	tag = NULL;
	for (int i = 0; i < 4; i++)
		answer(v2, 204, "");
	assert_null(asked("POST http://e"));
}

#define ETCD "POST http://127.0.0.1:2379/v3/"

static void test_etcd(void **state)
{
	ttl_ms = 30;
	wait_ms(1);
	answer(ETCD "kv/range", 200, "{\"header\":{}}");
	want(2, "pay");
	tell(true);
	assert_string_equal(asked(ETCD "lease/grant")->body, "{\"TTL\":\"1\"}");
	answer(ETCD "lease/grant", 200, "{\"ID\":\"77\",\"TTL\":\"1\"}");
	assert_non_null(strstr(asked(ETCD "kv/put")->body, "\"lease\":\"77\""));
	answer(ETCD "kv/put", 404, "{\"code\":5}"); /* it ended meanwhile */
	answer(ETCD "lease/grant", 200, "{\"ID\":\"78\"}");
	answer(ETCD "kv/put", 200, "{}");
	wait_ms(20);
	assert_string_equal(asked(ETCD "lease/keepalive")->body, "{\"ID\":\"78\"}");
	answer(ETCD "lease/keepalive", 200, "{\"result\":{\"ID\":\"78\",\"TTL\":\"1\"}}");
	wait_ms(20);
	answer(ETCD "lease/keepalive", 200, "{\"result\":{\"ID\":\"78\"}}"); /* it has ended */
	answer(ETCD "lease/grant", 200, "{\"ID\":\"79\"}");
	answer(ETCD "kv/put", 200, "{}");
	ttl_ms = 15000;
	tell(true);
	assert_string_equal(asked(ETCD "lease/revoke")->body, "{\"ID\":\"79\"}");
	answer(ETCD "lease/revoke", 200, "{}");
	assert_null(asked(ETCD));
}

static void test_etcd_with_another_lease_moves_the_key(void **state)
{
	wait_ms(1);
	answer(ETCD "kv/range", 200, "{}");
	want(2, "pay");
	tell(true);
	answer(ETCD "lease/grant", 200, "{\"ID\":\"77\"}");
	answer(ETCD "kv/put", 200, "{}");
	ttl_ms = 30000;
	want(2, "pay");
	tell(true);
	answer(ETCD "lease/grant", 200, "{\"ID\":\"78\"}");
	assert_non_null(strstr(asked(ETCD "kv/put")->body, "\"lease\":\"78\""));
	answer(ETCD "kv/put", 200, "{}");
	ttl_ms = 15000;
}

/* --- credentials ------------------------------------------------------------------------------
 */

static char secret[64];

static void write_secret(const char *text)
{
	FILE *f = fopen(secret, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void create_secret(void)
{
	int fd;

	(void)snprintf(secret, sizeof(secret), "/tmp/test_registrar.XXXXXX");
	fd = mkstemp(secret);
	assert_true(fd >= 0);
	(void)close(fd);
	write_secret("first\n");
}

static int make_secret(void **state)
{
	create_secret();
	configs[0].token_file = secret;
	return set_up(state);
}

static int remove_secret(void **state)
{
	int r = tear_down(state);

	configs[0].token_file = configs[2].token_file = NULL;
	configs[2].username = configs[2].password_file = NULL;
	if (*secret)
		(void)unlink(secret);
	return r;
}

/* Until it is asked; a KEEP in between is answered well. */
static struct fetch *wait_asked(const char *what)
{
	for (int i = 0; i < 100 && !asked(what); i++) {
		if (asked(KEEP("a")))
			answer(KEEP("a"), 200, "");
		wait_ms(50);
	}
	assert_non_null(asked(what));
	return asked(what);
}

/* The agent of Consul keeps the token of a registration, and speaks by it to the servers. */
static void test_credentials_that_change_are_told_consul(void **state)
{
	ttl_ms = 300;
	begin_with("a");
	(void)wait_asked(KEEP("a"));
	assert_string_equal(asked(KEEP("a"))->authorization, "X-Consul-Token: first");
	answer(KEEP("a"), 200, "");
	assert_null(asked(REGISTER));
	write_secret("second\n");
	(void)wait_asked(REGISTER);
	assert_string_equal(asked(REGISTER)->authorization, "X-Consul-Token: second");
	answer(REGISTER, 403, "not yet"); /* it lives on by the first */
	assert_said(ID("a") " failing;");
	(void)wait_asked(KEEP("a"));
	(void)wait_asked(REGISTER);
	assert_said("");
	answer(REGISTER, 200, "");
	assert_said(ID("a") " registered;");
	(void)wait_asked(KEEP("a"));
	answer(KEEP("a"), 200, "");
	wait_ms(1);
	assert_null(asked(REGISTER));
	ttl_ms = 15000;
}

static void test_credentials_that_cannot_be_read_are_like_a_registry_that_is_down(void **state)
{
	ttl_ms = 300;
	begin_with("a");
	(void)unlink(secret);
	wait_ms(600);
	assert_int_equal(under_way(), 0);
	assert_non_null(strstr(registrar_failure(registrar, 0), secret));
	assert_said("dc1 down;" ID("a") " failing;");
	write_secret("second\n");
	answer(wait_asked(REGISTER)->what, 200, "");
	assert_said("dc1 up;" ID("a") " registered;");
	assert_string_equal(registrar_failure(registrar, 0), "");
	ttl_ms = 15000;
}

static int make_user(void **state)
{
	create_secret();
	configs[2].username = (char *)"agent";
	configs[2].password_file = secret;
	return set_up_all(state);
}

static int make_token(void **state)
{
	create_secret();
	configs[2].token_file = secret;
	return set_up_all(state);
}

#define LOGIN ETCD "auth/authenticate"
#define REFUSE(text) "{\"error\":\"etcdserver: " text "\"}"

static void log_in(const char *what, const char *token)
{
	char body[50], header[50];

	(void)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
	(void)snprintf(header, sizeof(header), "Authorization: %s", token);
	assert_non_null(strstr(asked(LOGIN)->body, "\"password\":\"first\""));
	answer(LOGIN, 200, body);
	assert_string_equal(asked(what)->authorization, header);
}

/* Users that come later, and tokens that end: in the server's memory, by a lease of their own, or
 * signed ones by any change of users. */
static void test_etcd_users_and_their_tokens(void **state)
{
	wait_ms(1);
	answer(LOGIN, 400, REFUSE("authentication is not enabled"));
	assert_string_equal(asked(ETCD "kv/range")->authorization, "");
	answer(ETCD "kv/range", 200, "{}");
	want(2, "pay");
	tell(true);
	answer(ETCD "lease/grant", 400, REFUSE("user name is empty"));
	log_in(ETCD "lease/grant", "t1");
	answer(ETCD "lease/grant", 200, "{\"ID\":\"77\"}");
	answer(ETCD "kv/put", 400, REFUSE("revision of auth store is old"));
	log_in(ETCD "kv/put", "t2");
	answer(ETCD "kv/put", 200, "{}");
	tell(true);
	answer(ETCD "lease/revoke", 401, REFUSE("invalid auth token"));
	log_in(ETCD "lease/revoke", "t3");
	answer(ETCD "lease/revoke", 200, "{}");
	assert_null(asked(ETCD));
}

static void test_etcd_and_a_certificate_with_a_name(void **state)
{
	wait_ms(1);
	answer(LOGIN, 400,
	       "CommonName of client sending a request against gateway will be ignored "
	       "and not used as expected\n");
	assert_non_null(strstr(registrar_failure(registrar, 2), "; certFile must have none"));
}

static void test_etcd_that_takes_back_what_it_grants_is_told(void **state)
{
	int logins = 0;

	wait_ms(1);
	while (asked(LOGIN) && logins < 9) {
		logins++;
		log_in(ETCD "kv/range", "t");
		answer(ETCD "kv/range", 401, REFUSE("invalid auth token"));
	}
	assert_in_range(logins, 1, 4);
	assert_non_null(strstr(registrar_failure(registrar, 2), "takes back"));
}

static void test_etcd_with_a_token_of_a_file(void **state)
{
	wait_ms(1);
	assert_string_equal(asked(ETCD "kv/range")->authorization, "Authorization: first");
	answer(ETCD "kv/range", 401, REFUSE("invalid auth token"));
	assert_null(asked(ETCD));
	assert_non_null(strstr(registrar_failure(registrar, 2), "tokenFile"));
}

#define T(f, set_up) cmocka_unit_test_setup_teardown(f, set_up, remove_secret)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_eureka, set_up_all),
		T(test_several_that_look_for_a_eureka_find_it, set_up_all),
		T(test_etcd, set_up_all),
		T(test_etcd_with_another_lease_moves_the_key, set_up_all),
		T(test_etcd_users_and_their_tokens, make_user),
		T(test_etcd_that_takes_back_what_it_grants_is_told, make_user),
		T(test_etcd_and_a_certificate_with_a_name, make_user),
		T(test_etcd_with_a_token_of_a_file, make_token),
		T(test_credentials_that_change_are_told_consul, make_secret),
		T(test_credentials_that_cannot_be_read_are_like_a_registry_that_is_down,
		  make_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
