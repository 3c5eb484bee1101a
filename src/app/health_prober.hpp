// Asks the health checks of the user's own, each now and then in a thread of its own, so that one that hangs
// delays nothing else.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/health.hpp>

#include "base/clock.hpp"

namespace litecluster::app {

struct HealthProberOptions {
  base::Duration interval = std::chrono::seconds(1);
  /// A probe's Context ends then; one that is not back after it counts as critical until it is.
  base::Duration timeout = std::chrono::seconds(1);
  /// Told what a probe found, each time. Must return at once.
  std::function<void(const std::string& name, HealthResult result)> report{};
};

class HealthProber {
 public:
  HealthProber(const std::map<std::string, HealthProbe>& probes, HealthProberOptions options);
  HealthProber(const HealthProber&) = delete;
  HealthProber& operator=(const HealthProber&) = delete;
  /// Cancels the probes that run and waits for them, but for no longer than their timeout.
  ~HealthProber();

 private:
  struct Shared;

  void watch() const;

  const std::shared_ptr<Shared> shared_;
  std::jthread watcher_;
};

/// invalid_argument for a name that is one of ours, that is empty or longer than 64 bytes.
[[nodiscard]] Status check_health_names(const std::map<std::string, HealthProbe>& probes);

}  // namespace litecluster::app
