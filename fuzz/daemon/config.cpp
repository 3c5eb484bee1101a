// The configuration reader never crashes and never throws, whatever the file holds.
#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litecluster::daemon::Config config;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (litecluster::daemon::read_yaml(config, text, "fuzz.yaml")) {
    static_cast<void>(litecluster::daemon::validate(config));
  }
  return 0;
}
