// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests of Node's fetch (undici), and questions of its resolver (c-ares). Started by test_http.py and test_dns.py.
//
//   client.mjs http URL TIMES            prints "ANSWER PEER" for each
//   client.mjs dns SERVER:PORT NAME TIMES
import diagnostics from "node:diagnostics_channel";
import dns from "node:dns";

const [how, where, ...rest] = process.argv.slice(2);
const times = Number(rest.pop());
let peer = "-";

diagnostics.subscribe("undici:client:connected", ({ socket }) => {
	const { remoteFamily, remoteAddress, remotePort } = socket;
	peer = remoteFamily === "IPv6" ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
});

for (let i = 0; i < times; i++) {
	if (how === "dns") {
		const resolver = new dns.promises.Resolver();
		resolver.setServers([where]);
		console.log((await resolver.resolve4(rest[0]))[0], peer);
	} else {
		const answer = await fetch(where, { headers: { connection: "close" } });
		console.log(await answer.text(), peer);
	}
}
