// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests of java.net.http.HttpClient, which does not tell the peer. Started by test_http.py.
//
//   java Client.java URL TIMES     prints "ANSWER -" for each
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

class Client {
	public static void main(String[] words) throws Exception {
		HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		HttpRequest request = HttpRequest.newBuilder(URI.create(words[0])).timeout(Duration.ofSeconds(10)).build();
		for (int i = 0; i < Integer.parseInt(words[1]); i++)
			System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body() + " -");
	}
}
