#include "membership/process_identity.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/boot_id.hpp"
#include "base/bytes.hpp"
#include "base/hex.hpp"

namespace litecluster::membership {
namespace {

/// Field 22 of /proc/<pid>/stat; proc(5). nullopt when there is no such process, or it is a zombie.
std::optional<std::string> start_time(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  // The second field is the program's name in parentheses and may itself contain anything.
  std::size_t at = stat.rfind(')');
  if (at == std::string::npos || at + 2 >= stat.size()) return std::nullopt;
  if (stat[at + 2] == 'Z' || stat[at + 2] == 'X') return std::nullopt;
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

/// "<boot id>/<namespace>/"
std::string own_prefix() {
  struct stat space{};
  if (::stat("/proc/self/ns/pid", &space) != 0) return {};
  const auto boot = base::read_boot_id();
  if (!boot) return {};
  const auto half = [&boot](std::size_t at) {
    return base::to_hex16(base::load_big_endian<std::uint64_t>(boot->data() + at));
  };
  return half(0) + half(8) + "/" + std::to_string(space.st_ino) + "/";
}

}  // namespace

std::string own_process() {
  const std::string prefix = own_prefix();
  const std::string pid = std::to_string(::getpid());
  const auto started = start_time(pid);
  if (prefix.empty() || !started) return {};
  return prefix + pid + "/" + *started;
}

bool is_certainly_dead(std::string_view process) {
  const std::string prefix = own_prefix();
  if (prefix.empty() || !process.starts_with(prefix)) return false;
  // Where not even our own entry can be read, a missing one proves nothing.
  if (!start_time("self")) return false;
  const std::string_view rest = process.substr(prefix.size());
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string pid(rest.substr(0, slash));
  int number = 0;
  const auto [end, error] = std::from_chars(pid.data(), pid.data() + pid.size(), number);
  if (error != std::errc() || end != pid.data() + pid.size() || number <= 0) return false;
  return start_time(pid) != std::string(rest.substr(slash + 1));
}

}  // namespace litecluster::membership
