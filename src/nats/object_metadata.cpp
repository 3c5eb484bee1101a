#include "nats/object_metadata.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "base/base64.hpp"
#include "base/random.hpp"
#include "nats/json_fields.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view digest_prefix = "SHA-256=";

bool valid_token(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != '\x7f' && c != '.' && c != '*' && c != '>';
  });
}

std::optional<base::Sha256Digest> parse_digest(std::string_view text) {
  const auto same_letter = [](char a, char b) { return std::toupper(static_cast<unsigned char>(a)) == b; };
  if (text.size() < digest_prefix.size() ||
      !std::ranges::equal(text.substr(0, digest_prefix.size()), digest_prefix, same_letter)) {
    return std::nullopt;
  }
  std::string encoded(text.substr(digest_prefix.size()));
  while (encoded.size() % 4 != 0) encoded += '=';  // some writers leave the padding out
  const auto bytes = base::parse_base64url(encoded);
  base::Sha256Digest digest{};
  if (!bytes || bytes->size() != digest.size()) return std::nullopt;
  std::ranges::copy(*bytes, digest.begin());
  return digest;
}

ObjectHeaders parse_headers(const Json& json) {
  ObjectHeaders headers;
  if (!json.is_object()) return headers;
  for (const auto& [name, values] : json.items()) {
    if (!values.is_array()) continue;
    auto& list = headers[name];
    for (const Json& value : values) {
      if (value.is_string()) list.push_back(value.get<std::string>());
    }
  }
  return headers;
}

std::string parse_link(const Json& options) {
  if (!options.is_object()) return {};
  const Json& link = member(options, "link");
  if (!link.is_object()) return {};
  const std::string name = text_of(link, "name");
  return name.empty() ? text_of(link, "bucket") : text_of(link, "bucket") + "/" + name;
}

}  // namespace

std::string object_stream(std::string_view bucket) {
  return fmt::format("OBJ_{}", bucket);
}

std::string metadata_subject(std::string_view bucket, std::string_view name) {
  return fmt::format("$O.{}.M.{}", bucket, base::to_base64url(base::as_bytes(name)));
}

std::string chunk_subject(std::string_view bucket, std::string_view nuid) {
  return fmt::format("$O.{}.C.{}", bucket, nuid);
}

std::string new_nuid() {
  constexpr std::string_view letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string nuid;
  std::uint64_t random = 0;
  for (int position = 0; position < 22; ++position) {
    // Eleven digits of base 62 are less than 66 bits, so the last of each eleven is a little uneven; no
    // matter.
    if (position % 11 == 0) random = base::random_u64();
    nuid += letters[random % letters.size()];
    random /= letters.size();
  }
  return nuid;
}

std::string digest_text(const base::Sha256Digest& digest) {
  return std::string(digest_prefix) + base::to_base64url(digest);
}

std::optional<std::string_view> ObjectInfo::header(std::string_view wanted) const {
  const auto found = headers.find(wanted);
  if (found == headers.end() || found->second.empty()) return std::nullopt;
  return found->second.front();
}

Result<std::string> to_json(const ObjectInfo& info, std::string_view bucket) {
  // In the order of other writers, for people who look at it.
  nlohmann::ordered_json json;
  json["name"] = info.name;
  if (!info.description.empty()) json["description"] = info.description;
  if (!info.headers.empty()) json["headers"] = info.headers;
  if (!info.metadata.empty()) json["metadata"] = info.metadata;
  if (info.chunk_size != 0) json["options"]["max_chunk_size"] = info.chunk_size;
  json["bucket"] = bucket;
  json["nuid"] = info.nuid;
  json["size"] = info.size;
  // Readers take the server's time of the message; Go's zero time says so.
  json["mtime"] = "0001-01-01T00:00:00Z";
  json["chunks"] = info.chunks;
  if (info.digest) json["digest"] = digest_text(*info.digest);
  if (info.deleted) json["deleted"] = true;
  try {
    return json.dump();
  } catch (const nlohmann::json::exception&) {
    return failure(ErrorCode::invalid_argument, "put object", info.name,
                   "name, headers, metadata and description have to be UTF-8");
  }
}

Result<ObjectInfo> parse_object_info(std::string_view text, std::string_view subject) {
  const auto bad = [&](std::string reason) {
    return failure(ErrorCode::corrupt, "read object metadata", std::string(subject), std::move(reason));
  };
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return bad("it is no JSON object");
  ObjectInfo info;
  info.name = text_of(json, "name");
  const std::string_view token = subject.substr(subject.rfind('.') + 1);
  if (info.name.empty() || base::to_base64url(base::as_bytes(info.name)) != token) {
    return bad("it names another object than its subject does");
  }
  info.description = text_of(json, "description");
  info.headers = parse_headers(member(json, "headers"));
  if (const Json& metadata = member(json, "metadata"); metadata.is_object()) {
    for (const auto& [name, value] : metadata.items()) {
      if (value.is_string()) info.metadata[name] = value.get<std::string>();
    }
  }
  const Json& options = member(json, "options");
  info.link = parse_link(options);
  if (options.is_object()) info.chunk_size = count_of(options, "max_chunk_size");
  info.nuid = text_of(json, "nuid");
  info.size = count_of(json, "size");
  info.chunks = count_of(json, "chunks");
  const Json& deleted = member(json, "deleted");
  info.deleted = deleted.is_boolean() && deleted.get<bool>();
  if (!info.nuid.empty() && !valid_token(info.nuid)) return bad("its nuid is no subject token");
  if (info.nuid.empty() && info.size != 0) return bad("it has a size and no nuid");
  if (const std::string digest = text_of(json, "digest"); !digest.empty()) {
    info.digest = parse_digest(digest);
    if (!info.digest) return bad("its digest is not SHA-256 in base64");
  }
  return info;
}

}  // namespace litecluster::nats
