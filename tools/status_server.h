// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "pipeline/batch/report.h"

#include <chrono>
#include <memory>
#include <string>

namespace grainmill {

struct StatusServerOptions {
  std::chrono::milliseconds stale_after{30'000};  // without an update, the run is not healthy
  std::chrono::milliseconds request_time{5'000};  // that a client has, from connecting on
  std::chrono::milliseconds answer_time{30'000};  // that it may take to read the answer
};

// Answers GET and HEAD by HTTP with what was last told to it: / (a page), /status (JSON), /metrics
// (Prometheus) and /healthz. It has a few threads of its own, which take no signals, and makes the
// program ignore SIGPIPE. Without
// requests an update costs no more than keeping the report; each form is made when it is first
// asked for.
class StatusServer {
 public:
  // ADDRESS:PORT: an IPv4 address, an IPv6 address in brackets or `localhost`; nothing is looked
  // up. Port 0: any that is free.
  [[nodiscard]] static Result<std::unique_ptr<StatusServer>> start(
      const std::string& address_port, const StatusServerOptions& options = {});
  // Stops; answers that are on their way are cut off.
  ~StatusServer();
  StatusServer(const StatusServer&) = delete;
  StatusServer& operator=(const StatusServer&) = delete;

  // Threads: any.
  void update(BatchReport report);

  // "127.0.0.1:9180", with the port that was taken.
  [[nodiscard]] const std::string& address() const;

 private:
  class Impl;
  explicit StatusServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace grainmill
