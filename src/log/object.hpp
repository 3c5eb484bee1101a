// What is known of an LTX object without reading it: its name and what its metadata message says.
//
// The headers map of the metadata carries Litestream-Timestamp, which every Litestream writes and reads, and
// seven of ours, which Litestream ignores. Objects without ours were written by Litestream itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "base/sha256.hpp"
#include "log/object_name.hpp"

namespace litecluster::log {

/// Header names as they stand in the metadata. Values: RFC 3339 time, decimal, text, text, 16 hex digits
/// each.
inline constexpr std::string_view timestamp_header = "Litestream-Timestamp";
inline constexpr std::string_view epoch_header = "Litecluster-Epoch";
inline constexpr std::string_view node_header = "Litecluster-Node";
inline constexpr std::string_view incarnation_header = "Litecluster-Incarnation";
inline constexpr std::string_view checksum_header = "Litecluster-Checksum";
inline constexpr std::string_view pre_apply_header = "Litecluster-Pre-Apply-Checksum";
inline constexpr std::string_view previous_file_header = "Litecluster-Previous-File-Checksum";
inline constexpr std::string_view file_checksum_header = "Litecluster-File-Checksum";

using Headers = std::map<std::string, std::string, std::less<>>;

/// Who wrote an object: a node, one run of its process, in one term of leadership.
struct Author {
  Epoch epoch;
  std::string node;
  /// Random per start of the process.
  std::string incarnation;

  friend bool operator==(const Author&, const Author&) = default;
};

/// "node n in epoch e".
[[nodiscard]] std::string to_string(const Author& author);

/// One LTX object as its metadata describes it.
struct Object {
  ObjectName name;
  /// Bytes of the LTX file.
  std::uint64_t size = 0;
  /// The state's time: the time stamp of the last transaction in the file.
  base::WallTime created_at{};
  /// Absent when Litestream wrote the object.
  std::optional<Author> author;
  /// Rolling checksum of the database after this file. Absent when Litestream wrote the object.
  std::optional<Checksum> checksum;
  /// Rolling checksum of the database that this file was made on, which the LTX header of a raw object leaves
  /// out (Litestream reads none that has it). Absent in Litestream's objects, in those of earlier versions,
  /// and when the whole database was sent.
  std::optional<Checksum> pre_apply;
  /// File checksum of the raw object before it, where that has one.
  std::optional<Checksum> previous_file;
  /// The file checksum in the LTX trailer: which of several attempts at this TXID it is. Raw objects of ours
  /// have it; absent in all others, and when it cannot be read: it proves something, or nothing.
  std::optional<Checksum> file_checksum;
  /// Stream sequence of the metadata message; grows with each change in the bucket.
  Revision sequence;
  /// SHA-256 of the LTX file's bytes. Absent when the metadata has none that can be read.
  std::optional<base::Sha256Digest> digest;
  /// Where the bucket keeps the bytes: the name and number of their chunks.
  std::string nuid;
  std::uint64_t chunks = 0;
  /// Why the object must not be used although its bytes may be good: a header of ours that cannot be read.
  /// Empty: nothing wrong.
  std::string defect;

  friend bool operator==(const Object&, const Object&) = default;
};

/// What the writer decides about an object; the rest follows from the bytes.
struct NewObject {
  ObjectName name{};
  /// Has to equal the time stamp in the LTX header.
  base::WallTime created_at{};
  std::optional<Author> author{};
  std::optional<Checksum> checksum{};
  std::optional<Checksum> pre_apply{};
  std::optional<Checksum> previous_file{};
  std::optional<Checksum> file_checksum{};
};

/// What goes into the headers map. Without an author only Litestream-Timestamp.
[[nodiscard]] Headers make_headers(const NewObject& object);

/// Whether the two are known to be the same.
[[nodiscard]] inline bool agree(const std::optional<Checksum>& left, const std::optional<Checksum>& right) {
  return !left || !right || *left == *right;
}

/// Whether an object was made on what another one leads to. Yes, too, when they do not say so, and when it
/// does not begin right behind that.
[[nodiscard]] bool was_made_on(const Object& object, const Object& before);
/// The same of a state: its TXID, its checksum, and the file checksum of the raw object that led there.
[[nodiscard]] bool was_made_on(const Object& object, Txid txid, const std::optional<Checksum>& checksum,
                               const std::optional<Checksum>& file);

/// Fills in created_at, author and the checksums from `headers`. A missing or unreadable
/// Litestream-Timestamp gives `server_time`, as in Litestream. An author needs an epoch; its other two fields
/// may be missing. An epoch or a checksum that is there and cannot be read is a defect: taking it for absent
/// would take away the fence, or the check.
void read_headers(const Headers& headers, base::WallTime server_time, Object& object);

}  // namespace litecluster::log
