# SPDX-License-Identifier: GPL-2.0-or-later
"""Two writers cannot lose an update: ETag, If-Match, If-None-Match (RFC 9110), alone and in a race."""
import threading

import pytest

from serving import as_list, policy, service

PAYMENTS = "/v1/services/shop/payments"
POLICY = "/v1/policies/shop/gentle"
SOURCE = "/v1/sources/x"
FIRST = {PAYMENTS: service("payments"), POLICY: policy("gentle"), SOURCE: as_list(service("a"))}
WRITERS, INCREMENTS = 8, 25


def changed(path, n):
    """Another body for the path, different for each n."""
    if path == PAYMENTS:
        return service("payments", (("10.0.1.1", n),))
    if path == SOURCE:
        return as_list(service("a", (("10.0.1.1", n),)))
    body = policy("gentle")
    body["metadata"]["labels"] = {"n": str(n)}
    return body


@pytest.mark.parametrize("path", FIRST)
def test_the_second_of_two_writers_is_refused_with_412(fake, path):
    fake.put(path, FIRST[path])
    read = fake.ask("GET", path)
    one = fake.put(path, changed(path, 1), if_match=read.etag)
    for method, body in (("PUT", changed(path, 2)), ("DELETE", None)):
        fake.ask(method, path, body, if_match=read.etag).problem(412)
    after = fake.ask("GET", path)
    assert after.etag == one.etag != read.etag
    assert fake.put(path, changed(path, 3), if_match=after.etag).etag != after.etag
    assert fake.ask("DELETE", path, if_match=fake.ask("GET", path).etag).status == 200


def test_the_tag_of_a_delta_is_its_source(fake):
    tag = fake.put(SOURCE, FIRST[SOURCE]).etag
    assert tag == fake.ask("GET", SOURCE).etag
    after = fake.ask("PATCH", SOURCE, {"upsert": [service("b")]}, if_match=tag)
    assert after.status == 200 and after.etag != tag
    fake.ask("PATCH", SOURCE, {"upsert": [service("c")]}, if_match=tag).problem(412)
    assert len(fake.get("/v1/services")["items"]) == 2


@pytest.mark.parametrize("path", FIRST)
def test_if_none_match_star_creates_only(fake, path):
    assert fake.put(path, FIRST[path], if_none_match="*").status in (200, 201)
    fake.ask("PUT", path, changed(path, 1), if_none_match="*").problem(412)
    tag = fake.ask("GET", path).etag
    fake.ask("PUT", path, changed(path, 1), if_none_match=tag).problem(412)
    assert fake.put(path, changed(path, 1), if_none_match='"0"').status == 200


@pytest.mark.parametrize("path", FIRST)
def test_if_match_star_changes_only_what_exists(fake, path):
    fake.ask("PUT", path, FIRST[path], if_match="*").problem(412)
    fake.put(path, FIRST[path])
    assert fake.put(path, changed(path, 1), if_match="*").status == 200


@pytest.mark.parametrize("path", FIRST)
def test_lists_of_tags_and_weak_ones(fake, path):
    tag = fake.put(path, FIRST[path]).etag
    assert fake.put(path, FIRST[path], if_match=f'"x", {tag}, "y"').status == 200
    tag = fake.ask("GET", path).etag
    for header in (f"W/{tag}", '"x", "y"', '"' + "a" * 300 + '"', '""', f'"x{tag[1:]}'):
        fake.ask("PUT", path, changed(path, 1), if_match=header).problem(412)
    for header in (tag.strip('"'), '"', f'"x{tag}', f"{tag},", "", f"{tag} {tag}", "*, *", '"a b"', "w/" + tag):
        fake.ask("PUT", path, changed(path, 1), if_match=header).problem(400)
        fake.ask("PUT", path, changed(path, 1), if_none_match=header).problem(400)
    assert fake.ask("GET", path).etag == tag


def test_a_resource_version_acts_as_if_match(fake):
    fake.put(PAYMENTS, service("payments"))
    shown = fake.get(PAYMENTS)
    fake.put(PAYMENTS, service("payments", ()))
    fake.ask("PUT", PAYMENTS, shown).problem(412)
    assert fake.get(PAYMENTS)["spec"].get("endpoints", []) == []
    # A header counts more: whoever sends one means it.
    assert fake.put(PAYMENTS, shown, if_match="*").status == 200
    shown["metadata"]["resourceVersion"] = "no such version"
    fake.ask("PUT", PAYMENTS, shown).problem(412)


def test_a_dry_run_is_held_to_its_precondition(fake):
    fake.put(PAYMENTS, service("payments"))
    fake.ask("PUT", PAYMENTS + "?dryRun=true", service("payments", ()), if_match='"0"').problem(412)


def test_the_same_content_has_the_same_tag_again(fake):
    first = fake.put(PAYMENTS, service("payments")).etag
    fake.put(PAYMENTS, service("payments", ()))
    assert fake.put(PAYMENTS, service("payments")).etag == first


def test_a_source_counts_up_even_when_its_content_comes_back(fake):
    first = fake.put(SOURCE, FIRST[SOURCE]).etag
    fake.put(SOURCE, changed(SOURCE, 2))
    assert fake.put(SOURCE, FIRST[SOURCE]).etag != first


def race(fake, path, read, write):
    """WRITERS threads raise a number INCREMENTS times each; how often somebody was refused."""
    refused, errors = [0] * WRITERS, []

    def work(me):
        try:
            with fake.wire() as wire:
                for _ in range(INCREMENTS):
                    while True:
                        answer = wire.ask("GET", path)
                        done = wire.ask("PUT", path, write(read(answer.json) + 1), if_match=answer.etag)
                        if done.status == 200:
                            break
                        done.problem(412)
                        refused[me] += 1
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return sum(refused)


def test_eight_writers_with_25_increments_make_200_of_a_service(start):
    fake = start(services=0)
    fake.put(PAYMENTS, service("payments", labels={"n": "0"}))
    refused = race(fake, PAYMENTS, lambda s: int(s["metadata"]["labels"]["n"]),
                   lambda n: service("payments", labels={"n": str(n)}))
    assert fake.get(PAYMENTS)["metadata"]["labels"]["n"] == str(WRITERS * INCREMENTS)
    print(f"{refused} writers were refused and tried again")


def test_eight_writers_with_25_increments_make_200_of_a_source(start):
    fake = start(services=0)
    fake.put(SOURCE, as_list(service("a", labels={"n": "0"})))
    race(fake, SOURCE, lambda s: int(s["items"][0]["metadata"]["labels"]["n"]),
         lambda n: as_list(service("a", labels={"n": str(n)})))
    assert fake.get(SOURCE)["items"][0]["metadata"]["labels"]["n"] == str(WRITERS * INCREMENTS)
