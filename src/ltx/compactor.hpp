// Joins LTX files that follow each other into one that has the same effect as applying them in order.
//
// A k-way merge by page number. Of several versions of a page that of the latest input wins; pages beyond the
// last input's commit are dropped. The result takes min TXID and pre-apply checksum from the first input, max
// TXID, commit, timestamp and post-apply checksum from the last.
#pragma once

#include <functional>
#include <span>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "ltx/format.hpp"
#include "ltx/header.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

struct CompactionOptions {
  PageEncoding encoding = PageEncoding::block;
  /// Keep database checksums. Needs every input to carry them. Off: the result has none, as Litestream
  /// demands.
  bool keep_checksums = false;
  /// Accept inputs whose TXIDs do not follow each other.
  bool allow_gaps = false;
};

/// Inputs are in the order of their TXIDs. For neighbours: next.min <= previous.max + 1 and next.max >
/// previous.max (they may overlap, but none may contain the next), else `gap`. Inputs are verified
/// completely, but a bad one may only be noticed at its end, when its pages have gone to `output`: publish
/// what `output` got only when this returns success. Memory: one page and one read window per input, plus the
/// index of the output.
[[nodiscard]] Result<FileInfo> compact(std::span<Source* const> inputs, Sink& output,
                                       const CompactionOptions& options = {},
                                       const Context& context = Context::background());

}  // namespace litecluster::ltx
