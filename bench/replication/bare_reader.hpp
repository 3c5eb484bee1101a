// Reads a range of a bucket's chunks by nats.c alone and writes them to a file: the limit that restore is
// compared with.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "log/object.hpp"

namespace litecluster::bench {

/// One consumer over all chunks, writing those of `objects` to `output` as they come, and fsync. Nothing is
/// checked.
void read_bare(const std::string& url, const std::string& bucket, std::span<const log::Object> objects,
               const std::filesystem::path& output);

}  // namespace litecluster::bench
