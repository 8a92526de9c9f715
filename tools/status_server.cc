// SPDX-License-Identifier: Apache-2.0
#include "tools/status_server.h"

#include "tools/batch_reports.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace grainmill {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr std::size_t kThreads = 4;
constexpr int kMostWaiting = 16;      // connections; more wait in the kernel
constexpr Milliseconds kGlance{100};  // between looks whether it is to stop
constexpr Milliseconds kDrainTime{500};
constexpr std::size_t kMostDrained = 1 << 20;  // bytes of a request that nobody wanted

struct Address {
  std::string host;  // numeric
  int port = 0;
  bool is_ipv6 = false;
};

std::string to_text(const Address& address) {
  return fmt::format(fmt::runtime(address.is_ipv6 ? "[{}]:{}" : "{}:{}"), address.host,
                     address.port);
}

std::optional<int> parse_port(std::string_view text) {
  int port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  const bool has_digits = !text.empty() && text.front() >= '0' && text.front() <= '9';
  if (!has_digits || error != std::errc() || stop != end || port > 65535) return std::nullopt;
  return port;
}

Result<Address> parse_address(const std::string& text) {
  const auto wrong = [&](std::string_view what) {
    return fail(ErrorKind::invalid_argument, text,
                fmt::format("{}; expected ADDRESS:PORT, such as 127.0.0.1:9180 or [::1]:9180 "
                            "(names other than localhost are not looked up)",
                            what));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return wrong("has no port");
  const std::optional<int> port = parse_port(std::string_view(text).substr(colon + 1));
  if (!port) return wrong("has no port from 0 to 65535");
  Address address{.host = text.substr(0, colon), .port = *port};
  if (address.host == "localhost") address.host = "127.0.0.1";
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
    address.is_ipv6 = true;
  }
  if (::inet_pton(address.is_ipv6 ? AF_INET6 : AF_INET, address.host.c_str(), bytes.data()) != 1)
    return wrong("is not a numeric address and a port");
  return address;
}

std::unexpected<Error> cannot_listen(const Address& address, int code) {
  const std::string where = to_text(address);
  switch (code) {
    case EADDRINUSE:
      return fail(ErrorKind::busy, where,
                  "another program listens there; end it, or name another port with --listen "
                  "(port 0 takes any that is free)");
    case EACCES:
      return fail(ErrorKind::denied, where,
                  "this user may not listen there; name a port of 1024 or more with --listen");
    case EADDRNOTAVAIL:
      return fail(ErrorKind::not_found, where,
                  "this machine has no such address; name one of its own with --listen");
    default:
      return fail(ErrorKind::io, where,
                  fmt::format("cannot listen there: {}",
                              code == 0 ? "no reason was given" : std::strerror(code)));
  }
}

// A client's connection. It has so much time for all that it does: who sends a byte a second keeps
// no thread for long.
class Connection final : public httplib::Stream {
 public:
  Connection(int socket, const StatusServerOptions& options, const std::atomic<bool>& stopping)
      : socket_(socket),
        deadline_(Clock::now() + options.request_time),
        answer_time_(options.answer_time),
        stopping_(stopping) {}

  [[nodiscard]] bool is_readable() const override { return wait_for(POLLIN); }
  [[nodiscard]] bool is_writable() const override { return wait_for(POLLOUT); }
  // Its caller takes a request byte by byte.
  ssize_t read(char* target, size_t size) override {
    if (buffered_.empty()) {
      const ssize_t count = receive();
      if (count <= 0) return count;
      buffered_ = std::span(buffer_).first(static_cast<std::size_t>(count));
    }
    const std::size_t count = std::min(size, buffered_.size());
    std::ranges::copy(buffered_.first(count), target);
    buffered_ = buffered_.subspan(count);
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* text, size_t size) override {
    if (!std::exchange(is_answering_, true)) deadline_ = Clock::now() + answer_time_;
    if (!is_writable()) return -1;
    return ::send(socket_, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void get_remote_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  void get_local_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  [[nodiscard]] socket_t socket() const override { return socket_; }

  // What the client still sends is read: closing before that would take the answer away from it.
  void end() {
    ::shutdown(socket_, SHUT_WR);
    deadline_ = std::min(deadline_, Clock::now() + kDrainTime);
    std::size_t drained = 0;
    for (ssize_t count = 1; count > 0 && drained < kMostDrained; drained += buffer_.size())
      count = receive();
  }

 private:
  ssize_t receive() {
    return is_readable() ? ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT) : -1;
  }
  [[nodiscard]] bool wait_for(short events) const {
    while (!stopping_) {
      const auto left = std::chrono::ceil<Milliseconds>(deadline_ - Clock::now());
      if (left <= Milliseconds::zero()) return false;
      pollfd entry{.fd = socket_, .events = events, .revents = 0};
      const int ready = ::poll(&entry, 1, static_cast<int>(std::min(left, kGlance).count()));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

  int socket_;
  Clock::time_point deadline_;
  Milliseconds answer_time_;
  bool is_answering_ = false;
  const std::atomic<bool>& stopping_;
  std::array<char, 4096> buffer_{};
  std::span<char> buffered_;
};

// Who accepts connections answers them too while many wait, and so accepts no more.
class BoundedPool final : public httplib::ThreadPool {
 public:
  BoundedPool() : ThreadPool(kThreads) {}
  void enqueue(std::function<void()> answer) override {
    if (waiting_ >= kMostWaiting) return answer();
    ++waiting_;
    ThreadPool::enqueue([this, answer = std::move(answer)] {
      --waiting_;
      answer();
    });
  }

 private:
  std::atomic<int> waiting_ = 0;
};

class Server final : public httplib::Server {
 public:
  explicit Server(const StatusServerOptions& options) : options_(options) {}
  void stop_all() {
    stopping_ = true;
    stop();
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    // Processes that are started now must not keep it open.
    ::fcntl(socket, F_SETFD, FD_CLOEXEC);
    Connection connection(socket, options_, stopping_);
    bool is_closed = false;
    // Compressing costs more than it saves, parts of a report are of no use, bodies are not read.
    const bool done = process_request(connection, true, is_closed, [](httplib::Request& request) {
      request.ranges.clear();
      for (const char* const name : {"Accept-Encoding", "Expect"}) request.headers.erase(name);
    });
    connection.end();
    ::close(socket);
    return done;
  }

  StatusServerOptions options_;
  std::atomic<bool> stopping_ = false;
};

struct Form {
  const char* path;
  const char* type;
  std::string (*make)(const BatchReport& report);
};
constexpr std::array kForms = {
    Form{"/", "text/html; charset=utf-8", batch_html},
    Form{"/status", "application/json", batch_json},
    Form{"/metrics", "text/plain; version=0.0.4; charset=utf-8", batch_metrics},
};

// A report, and those of its forms that were asked for.
class Snapshot {
 public:
  explicit Snapshot(BatchReport report) : report_(std::move(report)) {}
  [[nodiscard]] const std::string& text(std::size_t form) {
    std::call_once(made_.at(form), [&] { texts_.at(form) = kForms.at(form).make(report_); });
    return texts_.at(form);
  }

 private:
  BatchReport report_;
  std::array<std::once_flag, kForms.size()> made_;
  std::array<std::string, kForms.size()> texts_;
};

void set_up_socket(socket_t socket) {
  // Not SO_REUSEPORT, with which two programs would share the port.
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

void answer(httplib::Response& response, int status, const std::string& text,
            const char* type = "text/plain; charset=utf-8") {
  response.status = status;
  response.set_content(text, type);
}

// Makes threads that no signal is given to: those are for the program.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

class StatusServer::Impl {
 public:
  explicit Impl(const StatusServerOptions& options) : options_(options), server_(options) {
    server_.new_task_queue = [] { return new BoundedPool; };  // the server deletes it
    server_.set_socket_options(set_up_socket);
    server_.set_default_headers({{"Cache-Control", "no-store"},
                                 {"Content-Security-Policy",
                                  "default-src 'none'; style-src 'unsafe-inline'; "
                                  "frame-ancestors 'none'"},
                                 {"Cross-Origin-Resource-Policy", "same-origin"},
                                 {"Referrer-Policy", "no-referrer"},
                                 {"X-Content-Type-Options", "nosniff"}});
    server_.set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          handle(request, response);
          return httplib::Server::HandlerResponse::Handled;
        });
  }
  ~Impl() {
    if (!thread_.joinable()) return;
    server_.stop_all();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] Status start(Address address) {
    errno = 0;
    const int port = address.port == 0 ? server_.bind_to_any_port(address.host, AI_NUMERICHOST)
                     : server_.bind_to_port(address.host, address.port, AI_NUMERICHOST)
                         ? address.port
                         : -1;
    if (port < 0) return cannot_listen(address, errno);
    address.port = port;
    address_ = to_text(address);
    {
      const WithoutSignals without;
      thread_ = std::thread([this] { server_.listen_after_bind(); });
    }
    // Before that it would not heed stop().
    while (!server_.is_running()) std::this_thread::sleep_for(Milliseconds(1));
    return {};
  }

  void update(BatchReport report) {
    auto snapshot = std::make_shared<Snapshot>(std::move(report));
    const std::lock_guard lock(mutex_);
    snapshot_.swap(snapshot);
    updated_ = Clock::now();
  }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void handle(const httplib::Request& request, httplib::Response& response) {
    if (request.method != "GET" && request.method != "HEAD") {
      response.set_header("Allow", "GET, HEAD");
      return answer(response, 405, "only GET and HEAD are answered\n");
    }
    if (request.path == "/healthz") return answer_health(response);
    const auto* const form = std::ranges::find(kForms, request.path, &Form::path);
    if (form == kForms.end())
      return answer(response, 404, "there are /, /status, /metrics and /healthz\n");
    const std::shared_ptr<Snapshot> snapshot = latest().first;
    if (snapshot == nullptr) return answer(response, 503, "the run has not begun yet\n");
    answer(response, 200, snapshot->text(static_cast<std::size_t>(form - kForms.begin())),
           form->type);
  }
  void answer_health(httplib::Response& response) {
    const auto age = Clock::now() - latest().second;
    if (age <= options_.stale_after) return answer(response, 200, "ok\n");
    answer(response, 503,
           fmt::format("the run has said nothing for {} s\n",
                       std::chrono::duration_cast<std::chrono::seconds>(age).count()));
  }
  [[nodiscard]] std::pair<std::shared_ptr<Snapshot>, Clock::time_point> latest() {
    const std::lock_guard lock(mutex_);
    return {snapshot_, updated_};
  }

  StatusServerOptions options_;
  std::mutex mutex_;
  std::shared_ptr<Snapshot> snapshot_;  // null: none yet
  Clock::time_point updated_ = Clock::now();
  Server server_;
  std::string address_;
  std::thread thread_;
};

Result<std::unique_ptr<StatusServer>> StatusServer::start(const std::string& address_port,
                                                          const StatusServerOptions& options) {
  GM_TRY(const Address address, parse_address(address_port));
  auto impl = std::make_unique<Impl>(options);
  GM_CHECK(impl->start(address));
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(impl)));
}

StatusServer::StatusServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StatusServer::~StatusServer() = default;

void StatusServer::update(BatchReport report) { impl_->update(std::move(report)); }

const std::string& StatusServer::address() const { return impl_->address(); }

}  // namespace grainmill
