#include <litecluster/member.hpp>

namespace litecluster {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::starting: return "starting";
    case Role::active: return "active";
    case Role::passive: return "passive";
    case Role::worker: return "worker";
  }
  return "unknown";
}

std::string_view to_string(Mode mode) {
  switch (mode) {
    case Mode::active_passive: return "active_passive";
    case Mode::pool: return "pool";
    case Mode::ring: return "ring";
  }
  return "unknown";
}

std::string_view to_string(HealthLevel level) {
  switch (level) {
    case HealthLevel::passing: return "passing";
    case HealthLevel::warning: return "warning";
    case HealthLevel::critical: return "critical";
  }
  return "unknown";
}

}  // namespace litecluster
