// The side of `litecluster ltx` that looks into a bucket.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <litecluster/error.hpp>

#include "cli/commands.hpp"
#include "cli/connection_options.hpp"

namespace litecluster::cli {

/// Prints the objects of the bucket, of one level or of all, by level and TXID.
[[nodiscard]] Status list_objects(const CommandLine& line, const ConnectionOptions& connection,
                                  std::optional<int> level);

/// One LTX file to work on: what to call it, and where it is.
struct LtxInput {
  std::string name;
  std::filesystem::path path;
};

/// Objects of a bucket, brought into a directory of their own that is removed with this. Move-only.
class FetchedObjects {
 public:
  /// `names` are names of objects, or TXIDs, which stand for the raw object; none: all of the bucket, by
  /// level and TXID. Every digest is checked. Errors: not_found, corrupt, those of the bucket and the disk.
  [[nodiscard]] static Result<FetchedObjects> fetch(const ConnectionOptions& connection,
                                                    const std::vector<std::string>& names);
  FetchedObjects(FetchedObjects&& other) noexcept;
  FetchedObjects& operator=(FetchedObjects&&) = delete;
  ~FetchedObjects();

  [[nodiscard]] const std::vector<LtxInput>& inputs() const { return inputs_; }

 private:
  FetchedObjects() = default;
  std::filesystem::path directory_;
  std::vector<LtxInput> inputs_;
};

}  // namespace litecluster::cli
