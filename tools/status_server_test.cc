// SPDX-License-Identifier: Apache-2.0
#include "tools/status_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace grainmill {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::unique_ptr<StatusServer> start(const std::string& address = "127.0.0.1:0",
                                    const StatusServerOptions& options = {}) {
  Result<std::unique_ptr<StatusServer>> server = StatusServer::start(address, options);
  EXPECT_TRUE(server) << server.error().to_string();
  return server ? *std::move(server) : nullptr;
}

int port_of(const StatusServer& server) {
  return std::stoi(server.address().substr(server.address().rfind(':') + 1));
}

httplib::Client client_of(const StatusServer& server) {
  const std::string host = server.address().starts_with('[') ? "::1" : "127.0.0.1";
  httplib::Client client(host, port_of(server));
  client.set_connection_timeout(5);
  client.set_read_timeout(5);
  return client;
}

BatchReport report_of(std::size_t images) {
  BatchReport report;
  report.plan = "/kvm/<b>.plan";
  report.jobs.resize(images);
  report.totals.jobs[0] = images;
  return report;
}

// A client that can stop half-way.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send(const std::string& text) const {
    ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
  }
  // All that comes until the server closes.
  [[nodiscard]] std::string read_all() const {
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t count = 0; (count = ::recv(socket_, buffer.data(), buffer.size(), 0)) > 0;)
      text.append(buffer.data(), static_cast<std::size_t>(count));
    return text;
  }

 private:
  int socket_;
};

TEST(StatusServer, AnswersEachPath) {
  const auto server = start();
  server->update(report_of(3));
  httplib::Client client = client_of(*server);
  const auto page = client.Get("/");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->get_header_value("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page->get_header_value("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(page->get_header_value("Connection"), "close");
  EXPECT_NE(page->get_header_value("Content-Security-Policy").find("default-src 'none'"),
            std::string::npos);
  EXPECT_TRUE(page->body.ends_with("</html>\n"));
  const auto status = client.Get("/status");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->get_header_value("Content-Type"), "application/json");
  EXPECT_EQ(nlohmann::json::parse(status->body)["states"]["queued"], 3);
  const auto metrics = client.Get("/metrics?name=value");
  ASSERT_TRUE(metrics);
  EXPECT_EQ(metrics->get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(metrics->body.find("grainmill_batch_jobs{state=\"queued\"} 3\n"), std::string::npos);
  const auto health = client.Get("/healthz");
  ASSERT_TRUE(health);
  EXPECT_EQ(health->status, 200);
  EXPECT_EQ(health->body, "ok\n");
}

TEST(StatusServer, ShowsTheLastUpdate) {
  const auto server = start();
  httplib::Client client = client_of(*server);
  EXPECT_EQ(client.Get("/status")->status, 503);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  for (const std::size_t images : {1U, 2U}) {
    server->update(report_of(images));
    for (int i = 0; i < 2; ++i)
      EXPECT_EQ(nlohmann::json::parse(client.Get("/status")->body)["states"]["queued"], images);
  }
}

TEST(StatusServer, AnswersNothingElse) {
  const auto server = start();
  server->update(report_of(1));
  httplib::Client client = client_of(*server);
  for (const std::string path : {"/nothing", "/status/", "//", "/../etc/passwd", "/%2e%2e/x"})
    EXPECT_EQ(client.Get(path)->status, 404) << path;
  const std::string body(1 << 18, 'x');
  for (const auto& result :
       {client.Post("/status", body, "text/plain"), client.Put("/", body, "text/plain"),
        client.Delete("/metrics"), client.Options("/")}) {
    ASSERT_TRUE(result) << httplib::to_string(result.error());
    EXPECT_EQ(result->status, 405);
    EXPECT_EQ(result->get_header_value("Allow"), "GET, HEAD");
  }
  for (const std::string wrong :
       {"GARBAGE\r\n\r\n", "FROB / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET\r\n\r\n"}) {
    const RawClient raw(port_of(*server));
    raw.send(wrong);
    EXPECT_TRUE(raw.read_all().starts_with("HTTP/1.1 400 ")) << wrong;
  }
  const RawClient raw(port_of(*server));
  raw.send("GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(raw.read_all().starts_with("HTTP/1.1 414 "));
}

TEST(StatusServer, HeadHasNoBody) {
  const auto server = start();
  server->update(report_of(1));
  const auto head = client_of(*server).Head("/status");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_TRUE(head->body.empty());
  EXPECT_GT(std::stoi(head->get_header_value("Content-Length")), 100);
}

TEST(StatusServer, SendsWholeReportsAsTheyAre) {
  const auto server = start();
  server->update(report_of(5000));
  const auto answer =
      client_of(*server).Get("/status", {{"Range", "bytes=0-3"}, {"Accept-Encoding", "gzip, br"}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->get_header_value("Content-Encoding"), "");
  EXPECT_EQ(nlohmann::json::parse(answer->body)["images"].size(), 5000U);
}

TEST(StatusServer, ClosesEachConnection) {
  const auto server = start();
  const RawClient client(port_of(*server));
  client.send("GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n");
  const std::string answer = client.read_all();
  EXPECT_TRUE(answer.ends_with("\r\n\r\nok\n")) << answer;
}

TEST(StatusServer, ASilentRunIsNotHealthy) {
  const auto server = start("127.0.0.1:0", {.stale_after = 200ms});
  server->update(report_of(1));
  httplib::Client client = client_of(*server);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  std::this_thread::sleep_for(1100ms);
  const auto stale = client.Get("/healthz");
  EXPECT_EQ(stale->status, 503);
  EXPECT_EQ(stale->body, "the run has said nothing for 1 s\n");
  EXPECT_EQ(client.Get("/status")->status, 200);
  server->update(report_of(1));
  EXPECT_EQ(client.Get("/healthz")->status, 200);
}

TEST(StatusServer, ABusyPortIsSaid) {
  const auto first = start();
  const Result<std::unique_ptr<StatusServer>> second = StatusServer::start(first->address());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::busy);
  EXPECT_EQ(second.error().to_string(),
            first->address() +
                ": another program listens there; end it, or name another port with --listen "
                "(port 0 takes any that is free)");
}

TEST(StatusServer, AnAddressOfAnotherMachineIsSaid) {
  const auto server = StatusServer::start("192.0.2.1:9180");
  ASSERT_FALSE(server);
  EXPECT_NE(server.error().message.find("this machine has no such address"), std::string::npos);
}

TEST(StatusServer, ListensWhereItIsTold) {
  EXPECT_TRUE(start("localhost:0")->address().starts_with("127.0.0.1:"));
  Result<std::unique_ptr<StatusServer>> server = StatusServer::start("[::1]:0");
  if (!server) GTEST_SKIP() << server.error().to_string();
  EXPECT_TRUE((*server)->address().starts_with("[::1]:"));
  EXPECT_EQ(client_of(**server).Get("/healthz")->status, 200);
  httplib::Client other("127.0.0.1", port_of(**server));
  EXPECT_FALSE(other.Get("/healthz"));
}

TEST(StatusServer, TakesNumericAddressesOnly) {
  for (const std::string wrong : {"",
                                  ":",
                                  "9180",
                                  ":9180",
                                  "127.0.0.1",
                                  "127.0.0.1:",
                                  "127.0.0.1:65536",
                                  "127.0.0.1:-1",
                                  "127.0.0.1:+1",
                                  "127.0.0.1: 1",
                                  "127.0.0.1:1x",
                                  "127.0.0.1:99999999999",
                                  "127.1:9180",
                                  "example.org:9180",
                                  "localhost.:9180",
                                  "::1:9180",
                                  "[::1]",
                                  "[::1]9180",
                                  "[127.0.0.1]:1",
                                  "[::1%lo]:1",
                                  "[]:1",
                                  "[::1:1",
                                  "127.0.0.1\n:1"}) {
    const auto server = StatusServer::start(wrong);
    ASSERT_FALSE(server) << wrong;
    EXPECT_EQ(server.error().kind, ErrorKind::invalid_argument) << wrong;
    EXPECT_NE(server.error().message.find("expected ADDRESS:PORT"), std::string::npos) << wrong;
  }
}

TEST(StatusServer, SlowClientsKeepNobodyWaitingForLong) {
  const auto server = start("127.0.0.1:0", {.request_time = 500ms});
  server->update(report_of(1));
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(std::make_unique<RawClient>(port_of(*server)));
    slow.back()->send("GET / HT");
  }
  const Clock::time_point begin = Clock::now();
  httplib::Client client = client_of(*server);
  client.set_read_timeout(20);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_LT(Clock::now() - begin, 15s);
}

TEST(StatusServer, StopsAtOnceWhateverClientsDo) {
  auto server = start();
  server->update(report_of(1));
  const RawClient silent(port_of(*server));
  const RawClient half(port_of(*server));
  half.send("GET /sta");
  std::this_thread::sleep_for(50ms);
  const Clock::time_point begin = Clock::now();
  server.reset();
  EXPECT_LT(Clock::now() - begin, 3s);
  for (int i = 0; i < 20; ++i) start();
}

TEST(StatusServer, UpdatesAndRequestsMeetAnyHow) {
  const auto server = start();
  server->update(report_of(1));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (std::size_t i = 1; !done; ++i) server->update(report_of(i % 50 + 1));
  });
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 4; ++reader)
    readers.emplace_back([&] {
      httplib::Client client = client_of(*server);
      for (int i = 0; i < 25; ++i) {
        const auto status = client.Get("/status");
        ASSERT_TRUE(status);
        const nlohmann::json json = nlohmann::json::parse(status->body);
        EXPECT_EQ(json["images"].size(), json["states"]["queued"].get<std::size_t>());
        EXPECT_EQ(client.Get("/metrics")->status, 200);
      }
    });
  for (std::thread& reader : readers) reader.join();
  done = true;
  writer.join();
}

}  // namespace
}  // namespace grainmill
