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

  /// `<txid>-<checksum>`, ascending.
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
            .checksum = parse_checksum(name.substr(17)),
            .epoch = Epoch(1)};
  }
  [[nodiscard]] Status append(const CapturedTransaction& captured) const {
    if (end().txid.next() != captured.txid()) {
      return failure(ErrorCode::conflict, "append", to_string(captured.txid()), "the log ends elsewhere");
    }
    auto file = base::AtomicFile::create(
        directory_ / (to_string(captured.txid()) + "-" + to_string(captured.position().checksum) + ".ltx"));
    if (!file) return std::unexpected(file.error());
    ltx::FileSink sink(*file);
    ltx::Encoder encoder;
    if (auto encoded = captured.encode(encoder, sink); !encoded) return std::unexpected(encoded.error());
    if (auto flushed = sink.flush(); !flushed) return flushed;
    return file->commit();
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace litecluster::db
