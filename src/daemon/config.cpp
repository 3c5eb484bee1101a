#include "daemon/config.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <utility>

#include "app/option_check.hpp"
#include "daemon/nearest_name.hpp"
#include "daemon/scalar.hpp"

namespace litecluster::daemon {

namespace {

std::string upper_with_underscores(std::string_view name) {
  std::string result;
  for (const char character : name) {
    result += character == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(character)));
  }
  return result;
}

const ConfigKey* find_key(std::string_view name) {
  const auto& keys = config_keys();
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

bool is_section(std::string_view name) {
  const std::string prefix = std::string(name) + ".";
  const auto& keys = config_keys();
  return std::any_of(keys.begin(), keys.end(),
                     [&](const ConfigKey& key) { return key.name.starts_with(prefix); });
}

constexpr std::string_view variable_prefix = "LITECLUSTER_";

// Not of the configuration, and close to something that is: of hooks, and where nats-server lies.
constexpr std::array<std::string_view, 2> variables_of_others{"LITECLUSTER_PARTITIONS",
                                                              "LITECLUSTER_NATS_SERVER"};

// The variable of a key that `name` stands for in all likelihood; empty: none.
std::string variable_meant(std::string_view name, const std::vector<std::string>& known) {
  const std::string_view own = name.substr(variable_prefix.size());
  // As with the flags --db and --nats.
  if (own == "DB" || own == "SQLITE") return "LITECLUSTER_SQLITE_PATH";
  if (own == "NATS") return "LITECLUSTER_NATS_URLS";
  for (const std::string& variable : known) {
    if (variable.ends_with("_" + std::string(own))) return variable;
  }
  constexpr std::size_t edits_max = 3;
  const std::string nearest = nearest_name(std::string(name), known);
  // Of a short name, few letters may differ: else it is another word.
  return edits_between(name, nearest) <= std::min(edits_max, (own.size() + 1) / 2) ? nearest : std::string();
}

std::unexpected<Error> unknown_key(const std::string& name, const std::string& source) {
  return failure(ErrorCode::invalid_argument, "read configuration", source,
                 "unknown key '" + name + "'; did you mean '" + nearest_key(name) + "'?");
}

std::vector<std::string> split_at(char separator, std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

// Walks a YAML document and stores what it finds. yaml-cpp throws on conversions; read_yaml catches.
class YamlReader {
 public:
  YamlReader(Config& config, std::string file_name) : config_(config), file_name_(std::move(file_name)) {}

  Status read_map(const YAML::Node& map, const std::string& prefix) {
    for (const auto& entry : map) {
      const auto name = entry.first.as<std::string>();
      const std::string path = prefix.empty() && name == "db" ? "sqlite" : prefix + name;
      const std::string source = file_name_ + ":" + std::to_string(entry.first.Mark().line + 1);
      if (!seen_.insert(path).second) {
        return failure(ErrorCode::invalid_argument, "read configuration", source,
                       "key '" + path + "' is given twice");
      }
      if (auto read = read_value(path, entry.second, source); !read) return read;
    }
    return {};
  }

 private:
  Status read_value(const std::string& path, const YAML::Node& value, const std::string& source) {
    if (value.IsNull()) return {};
    const ConfigKey* key = find_key(path);
    if (key != nullptr && value.IsMap()) return store_pairs(path, value, source);
    if (key != nullptr && value.IsSequence()) return store_sequence(*key, value, source);
    if (key != nullptr) return set_config(config_, path, key->values_of({value.as<std::string>()}), source);
    if (!is_section(path)) return unknown_key(path, source);
    if (value.IsMap()) return read_map(value, path + ".");
    if (path == "sqlite" && value.IsScalar()) {
      return set_config(config_, "sqlite.path", {value.as<std::string>()}, source);
    }
    return failure(ErrorCode::invalid_argument, "read configuration", source,
                   "'" + path + "' takes keys below it, not a value");
  }

  Status store_pairs(const std::string& path, const YAML::Node& map, const std::string& source) {
    std::vector<std::string> values;
    for (const auto& entry : map) {
      values.push_back(entry.first.as<std::string>() + "=" + entry.second.as<std::string>());
    }
    return set_config(config_, path, values, source);
  }

  Status store_sequence(const ConfigKey& key, const YAML::Node& sequence, const std::string& source) {
    if (!key.list) {
      return failure(ErrorCode::invalid_argument, "read configuration", source,
                     "'" + key.name + "' takes one value");
    }
    std::vector<std::string> values;
    for (const auto& item : sequence) {
      if (item.IsMap()) {
        // The one list of maps there is: compaction levels.
        for (const auto& entry : item) {
          const auto name = entry.first.as<std::string>();
          if (name != "level" && name != "interval") return unknown_key(key.name + "." + name, source);
        }
        values.push_back(item["level"].as<std::string>("") + "=" + item["interval"].as<std::string>("0"));
      } else {
        values.push_back(item.as<std::string>());
      }
    }
    return set_config(config_, key.name, values, source);
  }

  Config& config_;
  std::string file_name_;
  std::set<std::string> seen_;
};

}  // namespace

std::string ConfigKey::environment_variable() const {
  return "LITECLUSTER_" + upper_with_underscores(name);
}

std::vector<std::string> ConfigKey::values_of(const std::vector<std::string>& texts) const {
  const bool command = name.ends_with("command") || name.starts_with("hooks.");
  if (!list || (command && texts.size() > 1)) return texts;
  std::vector<std::string> values;
  for (const std::string& text : texts) {
    const char separator = command && text.contains(' ') ? ' ' : ',';
    for (std::string& part : split_at(separator, text)) values.push_back(std::move(part));
  }
  return values;
}

std::string ConfigKey::flag() const {
  std::string text = "--" + name;
  std::replace(text.begin() + 2, text.end(), '.', '-');
  std::replace(text.begin() + 2, text.end(), '_', '-');
  return text;
}

std::string nearest_key(std::string_view name) {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) names.push_back(key.name);
  return nearest_name(name, names);
}

Status set_config(Config& config, std::string_view name, const std::vector<std::string>& values,
                  const std::string& source) {
  const ConfigKey* key = find_key(name);
  if (key == nullptr) return unknown_key(std::string(name), source);
  if (values.empty() || (!key->list && values.size() != 1)) {
    return failure(ErrorCode::invalid_argument, "read configuration", source,
                   "'" + key->name + "' needs a value");
  }
  const auto stored = key->set(config, values);
  if (stored) return {};
  return failure(ErrorCode::invalid_argument, "read configuration", source,
                 key->name + ": " + stored.error().reason());
}

Status read_yaml(Config& config, const std::string& text, const std::string& file_name) {
  try {
    const YAML::Node document = YAML::Load(text);
    if (document.IsNull()) return {};
    if (!document.IsMap()) {
      return failure(ErrorCode::invalid_argument, "read configuration", file_name,
                     "is not a map of keys and values");
    }
    return YamlReader(config, file_name).read_map(document, "");
  } catch (const YAML::Exception& error) {
    return failure(ErrorCode::invalid_argument, "read configuration",
                   file_name + ":" + std::to_string(error.mark.line + 1), error.msg);
  }
}

Status check_variables(const std::vector<std::string>& environment) {
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys()) known.push_back(key.environment_variable());
  for (const std::string& entry : environment) {
    const std::string name = entry.substr(0, entry.find('='));
    if (!name.starts_with(variable_prefix) || std::ranges::find(known, name) != known.end() ||
        std::ranges::find(variables_of_others, name) != variables_of_others.end()) {
      continue;
    }
    const std::string meant = variable_meant(name, known);
    if (meant.empty()) continue;
    return failure(ErrorCode::invalid_argument, "read configuration", "environment",
                   "unknown variable '" + name + "'; did you mean '" + meant + "'?");
  }
  return {};
}

Status validate(const Config& config) {
  return app::check_options(config.app);
}

}  // namespace litecluster::daemon
