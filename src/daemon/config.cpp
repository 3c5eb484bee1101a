#include "daemon/config.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <set>
#include <utility>

#include "app/option_check.hpp"
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

// Levenshtein distance; names are short.
std::size_t edits_between(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0U : 1U);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row.back();
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

std::unexpected<Error> unknown_key(const std::string& name, const std::string& source) {
  return failure(ErrorCode::invalid_argument, "read configuration", source,
                 "unknown key '" + name + "'; did you mean '" + nearest_key(name) + "'?");
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
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
    if (key != nullptr) return set_config(config_, path, values_of(*key, value.as<std::string>()), source);
    if (!is_section(path)) return unknown_key(path, source);
    if (value.IsMap()) return read_map(value, path + ".");
    if (path == "sqlite" && value.IsScalar()) {
      return set_config(config_, "sqlite.path", {value.as<std::string>()}, source);
    }
    return failure(ErrorCode::invalid_argument, "read configuration", source,
                   "'" + path + "' takes keys below it, not a value");
  }

  // A command may be written as one text; it is split at blanks, as a person would write it.
  static std::vector<std::string> values_of(const ConfigKey& key, const std::string& text) {
    if (!key.list) return {text};
    if (!key.name.ends_with("command") && !key.name.starts_with("hooks.")) return split_at_commas(text);
    std::vector<std::string> words;
    std::string word;
    for (const char character : text + " ") {
      if (character != ' ') {
        word += character;
      } else if (!word.empty()) {
        words.push_back(std::exchange(word, {}));
      }
    }
    return words;
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

std::string ConfigKey::flag() const {
  std::string text = "--" + name;
  std::replace(text.begin() + 2, text.end(), '.', '-');
  std::replace(text.begin() + 2, text.end(), '_', '-');
  return text;
}

std::string nearest_key(std::string_view name) {
  const auto& keys = config_keys();
  const auto nearest =
      std::min_element(keys.begin(), keys.end(), [&](const ConfigKey& left, const ConfigKey& right) {
        return edits_between(name, left.name) < edits_between(name, right.name);
      });
  return nearest->name;
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

Status read_environment(Config& config, const std::vector<std::string>& environment) {
  static const std::set<std::string> for_others = {
      "LITECLUSTER_FAULT",         "LITECLUSTER_CONFIG", "LITECLUSTER_NATS_SERVER",  "LITECLUSTER_PARTNERS",
      "LITECLUSTER_FENCING_TOKEN", "LITECLUSTER_HOOK",   "LITECLUSTER_LEADER",       "LITECLUSTER_MEMBER",
      "LITECLUSTER_PARTITIONS",    "LITECLUSTER_HEALTH", "LITECLUSTER_HEALTH_REASON"};
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    if (!name.starts_with("LITECLUSTER_") || equals == std::string::npos || for_others.contains(name))
      continue;
    const auto& keys = config_keys();
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& candidate) {
      return candidate.environment_variable() == name;
    });
    if (key == keys.end()) return unknown_key(name, "environment");
    const std::string value = entry.substr(equals + 1);
    const auto values = key->list ? split_at_commas(value) : std::vector<std::string>{value};
    if (auto stored = set_config(config, key->name, values, name); !stored) return stored;
  }
  return {};
}

Status validate(const Config& config) {
  return app::check_options(config.app);
}

}  // namespace litecluster::daemon
