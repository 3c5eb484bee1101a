// A log of LTX files in a directory, in place of the bucket: each appears whole or not at all, and a TXID can
// be taken once.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <litecluster/types.hpp>

#include "base/file.hpp"
#include "db/database.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::db {

class AgentLog {
 public:
  explicit AgentLog(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// `<txid>-<database checksum>-<file checksum>`, ascending.
  [[nodiscard]] std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".ltx") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  [[nodiscard]] LogEnd end() const {
    const auto all = files();
    if (all.empty()) return {};
    const std::string name = all.back().stem().string();
    return {.txid = *parse_txid(name.substr(0, 16)),
            .checksum = parse_checksum(name.substr(17, 16)),
            .file_checksum = parse_checksum(name.substr(34)),
            .epoch = Epoch(1)};
  }
  [[nodiscard]] Status append(Database& database, const CapturedTransaction& captured) const {
    if (end().txid.next() != captured.txid()) {
      return failure(ErrorCode::conflict, "append", to_string(captured.txid()), "the log ends elsewhere");
    }
    base::Bytes bytes;
    ltx::BytesSink sink(bytes);
    ltx::Encoder encoder;
    const auto encoded = captured.encode(encoder, sink);
    if (!encoded) return std::unexpected(encoded.error());
    const Checksum file_checksum = encoded->trailer.file;
    if (auto noted = database.note_file(captured.txid(), file_checksum); !noted) return noted;
    return base::write_file_durably(
        directory_ / (to_string(captured.txid()) + "-" + to_string(captured.position().checksum) + "-" +
                      to_string(file_checksum) + ".ltx"),
        bytes);
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace litecluster::db
