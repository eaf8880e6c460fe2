# SPDX-License-Identifier: GPL-2.0-or-later
"""SRV records of real servers: Consul's DNS, and our own, whose services are then those of another sinewd."""
import os
import subprocess
import time

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.follow import Follow
from harness.peer_consul import Consul


def test_consuls_dns_is_a_registry(sandbox):
    consul = Consul(sandbox)
    consul.register("pay", "127.0.0.5", 8080)
    names = "pay.service.consul,shop/web=_web._tcp.service.consul"
    with Follow("srv", address=f"dns://127.0.0.1:{consul.dns_port}", names=names) as told:
        told.wait_ends("default/pay", "127.0.0.5:8080")
        # No such name yet, as far as Consul knows: that is told, and the other one is followed.
        assert "service.consul" in told.wait_error("missing")["text"]
        consul.register("web", "127.0.0.7", 9090, Weights={"Passing": 3, "Warning": 1})
        told.wait_ends("shop/web", "127.0.0.7:9090", seconds=20)
        assert told.services["shop/web"]["spec"]["endpoints"][0]["weight"] == 300
        consul.register("pay", "127.0.0.6", 8081)
        told.wait_ends("default/pay", "127.0.0.5:8080", "127.0.0.6:8081")
        consul.deregister("pay-127.0.0.5-8080")
        told.wait_ends("default/pay", "127.0.0.6:8081")
        consul.kill()
        told.wait_error("unreachable", 15)
        assert told.ends("default/pay") == ["127.0.0.6:8081"]
    consul.stop()


def test_what_consul_cuts_over_udp_is_whole_over_tcp(sandbox):
    consul = Consul(sandbox)
    for n in range(100):
        consul.register("many", f"127.0.1.{n + 1}", 8000 + n)
    with Follow("srv", address=f"dns+tcp://127.0.0.1:{consul.dns_port}", names="many.service.consul") as told:
        told.wait(lambda me: len(me.ends("default/many") or []) == 100, 20)
    consul.stop()


def test_our_own_dns_is_a_registry():
    program = os.path.join(BUILD, "tests", "control", "dns_serve")
    with subprocess.Popen([program, "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        port = int(server.stdout.readline())
        names = "_port-number-0._tcp.pay.shop.sinew,few=_port-number-0._tcp.s1.shop.sinew"
        with Follow("srv", address=f"dns://127.0.0.1:{port}", names=names) as told:
            told.wait_ends("default/pay", "127.128.255.1:80")
            told.wait_ends("default/few", "127.128.0.1:80")
            assert told.ask()["error"] == "ok"
        server.stdin.close()


def test_what_the_dns_says_is_in_a_real_sinewd(sandbox, daemon):
    consul = Consul(sandbox)
    consul.register("pay", "127.0.0.5", 8080)
    agent = Agent(sandbox, BUILD, daemon, [{"name": "names", "type": "srv", "names": ["pay.service.consul"],
                                            "address": f"dns://127.0.0.1:{consul.dns_port}"}], name="agent-srv")
    agent.wait_endpoints("pay", ["127.0.0.5:8080"])
    began = time.monotonic()
    consul.register("pay", "127.0.0.6", 8081)
    agent.wait_endpoints("pay", ["127.0.0.5:8080", "127.0.0.6:8081"])
    print(f"registered to visible in sinewd: {time.monotonic() - began:.2f} s; Consul's time to live is 0")
    assert agent.registry("names")["state"] == "ok"
    assert agent.stop() == 0
    consul.stop()
