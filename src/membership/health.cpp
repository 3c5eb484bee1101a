#include <litecluster/health.hpp>

namespace litecluster {

std::string Health::reason() const {
  std::string joined;
  if (level == HealthLevel::passing) return joined;
  for (const HealthCheck& check : checks) {
    if (check.result.level != level) continue;
    if (!joined.empty()) joined += "; ";
    joined += check.name + ": " + check.result.reason;
  }
  return joined;
}

}  // namespace litecluster
