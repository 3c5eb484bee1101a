// The names and the JSON of the object store's format.
#pragma once

#include <string>
#include <string_view>

#include <litecluster/error.hpp>

#include "nats/object_store.hpp"

namespace litecluster::nats {

/// "OBJ_<bucket>".
[[nodiscard]] std::string object_stream(std::string_view bucket);
/// "$O.<bucket>.M.<base64url of the name>".
[[nodiscard]] std::string metadata_subject(std::string_view bucket, std::string_view name);
/// "$O.<bucket>.C.<nuid>".
[[nodiscard]] std::string chunk_subject(std::string_view bucket, std::string_view nuid);
/// 22 random characters of base 62.
[[nodiscard]] std::string new_nuid();

/// Error invalid_argument when a text is not UTF-8.
[[nodiscard]] Result<std::string> to_json(const ObjectInfo& info, std::string_view bucket);

/// Parses a metadata message found on `subject`; sequence and time are the caller's to fill in. Error corrupt
/// when it is no metadata, names another object than the subject, or has a nuid that is no subject token.
[[nodiscard]] Result<ObjectInfo> parse_object_info(std::string_view json, std::string_view subject);

/// "SHA-256=<base64url>".
[[nodiscard]] std::string digest_text(const base::Sha256Digest& digest);

}  // namespace litecluster::nats
