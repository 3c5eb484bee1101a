// From what the options say to a backend that can be started.
#pragma once

#include <memory>

#include <litecluster/app_options.hpp>
#include <litecluster/error.hpp>

#include "backend/backend.hpp"
#include "backend/guard.hpp"
#include "backend/process.hpp"
#include "backend/supervisor.hpp"

namespace litecluster::app {

struct BackendSetup {
  std::unique_ptr<backend::ProcessHost> host;  ///< unset when the guard starts the processes
  std::unique_ptr<backend::Backend> backend;

  /// The backend goes before its host.
  void reset() {
    backend.reset();
    host.reset();
  }
};

/// When a process is started again, and when given up.
[[nodiscard]] backend::SupervisorConfig supervisor_config(const Backend& wanted);
/// Starts nothing. `guard` may be nullptr: processes are then our own children. Errors: invalid_argument.
[[nodiscard]] Result<BackendSetup> set_up_backend(const Backend& wanted, backend::GuardLink* guard);

}  // namespace litecluster::app
