import java.net.CookieManager;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;

/** Users of Java's HttpClient: each line of output is one request and its answer. */
class UsersOfHttpClient {
    public static void main(String[] arguments) throws Exception {
        URI url = URI.create(arguments[0]);
        Path stop = Path.of(arguments[1]);
        int keepers = Integer.parseInt(arguments[2]);
        int newcomers = Integer.parseInt(arguments[3]);
        Thread[] users = new Thread[keepers + newcomers];
        for (int number = 0; number < users.length; number++) {
            int user = number;
            users[user] = new Thread(() -> browse(url, stop, user, user < keepers));
            users[user].start();
        }
        for (Thread user : users) {
            user.join();
        }
        // The clients' own threads would keep the program alive for a while.
        System.exit(0);
    }

    static void browse(URI url, Path stop, int user, boolean keeps) {
        HttpClient.Builder builder = HttpClient.newBuilder();
        builder.version(user % 2 == 0 ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1);
        if (keeps) {
            builder.cookieHandler(new CookieManager());
        }
        HttpClient client = builder.build();
        HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(10)).build();
        while (!Files.exists(stop)) {
            double sent = now();
            String outcome;
            try {
                HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
                outcome = response.statusCode() == 200
                    ? "\"answer\":" + response.body().trim()
                    : "\"error\":\"status " + response.statusCode() + "\"";
            } catch (Exception error) {
                outcome = "\"error\":\"" + error.toString().replace('"', '\'') + "\"";
            }
            System.out.println("{\"user\":" + user + ",\"keeps\":" + keeps + ",\"sent\":" + sent + ",\"received\":" + now() + "," + outcome + "}");
            try {
                Thread.sleep(5);
            } catch (InterruptedException interrupted) {
                return;
            }
        }
    }

    static double now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1e3 + now.getNano() / 1e6;
    }
}
