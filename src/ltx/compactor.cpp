#include "ltx/compactor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "ltx/decoder.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::ltx {
namespace {

/// One file and the page that it is at.
struct Input {
  explicit Input(Source& file) : source(&file), decoder(file) {}
  Source* source;
  Decoder decoder;
  Page page;
};

struct HeapEntry {
  PageNo number;
  std::size_t input;

  /// std heaps keep the largest in front: the smallest page, and of equal ones that of the latest input.
  friend bool operator<(const HeapEntry& left, const HeapEntry& right) {
    if (left.number != right.number) return left.number > right.number;
    return left.input < right.input;
  }
};

class Merge {
 public:
  Merge(Sink& output, const CompactionOptions& options)
      : output_(output), options_(options), encoder_(options.encoding) {}

  Status open(std::span<Source* const> inputs);
  Result<FileInfo> run(const Context& context);

 private:
  Status check_follows(const Input& before, const Input& after) const;
  Status begin_output();
  /// Moves an input to its next page and back into the heap, unless it ended.
  Status advance(std::size_t input);
  Status take_page();
  HeapEntry pop();

  Sink& output_;
  CompactionOptions options_;
  Encoder encoder_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<HeapEntry> heap_;
  std::uint32_t commit_ = 0;
};

std::unexpected<Error> refuse(ErrorCode code, std::string_view subject, std::string reason) {
  return failure(code, "compact", std::string(subject), std::move(reason));
}

/// What the encoder refuses here is not the caller's mistake: the inputs do not make up a file.
Status blame_inputs(Status status) {
  if (status || status.error().code() != ErrorCode::invalid_argument) return status;
  return refuse(ErrorCode::corrupt, "LTX files",
                "the inputs do not make a valid file: " + status.error().message());
}

Status Merge::open(std::span<Source* const> inputs) {
  if (inputs.empty()) return refuse(ErrorCode::invalid_argument, "LTX files", "there are none");
  for (Source* source : inputs) {
    inputs_.push_back(std::make_unique<Input>(*source));
    const auto header = inputs_.back()->decoder.read_header();
    if (!header) return std::unexpected(header.error());
    if (options_.keep_checksums && header->no_checksum) {
      return refuse(ErrorCode::invalid_argument, source->name(), "it has no database checksums to keep");
    }
    if (inputs_.size() < 2) continue;
    if (auto follows = check_follows(**(inputs_.end() - 2), *inputs_.back()); !follows) return follows;
  }
  if (auto begun = blame_inputs(begin_output()); !begun) return begun;
  for (std::size_t input = 0; input < inputs_.size(); ++input) {
    if (auto advanced = advance(input); !advanced) return advanced;
  }
  return {};
}

Status Merge::check_follows(const Input& before, const Input& after) const {
  const Header& first = before.decoder.header();
  const Header& next = after.decoder.header();
  if (first.page_size != next.page_size) {
    return refuse(ErrorCode::invalid_argument, after.source->name(),
                  fmt::format("page size {} after one of {}", next.page_size, first.page_size));
  }
  if (options_.allow_gaps) return {};
  const bool contiguous = next.min_txid.previous() <= first.max_txid;  // min TXID is at least 1
  if (contiguous && next.max_txid > first.max_txid) return {};
  return refuse(ErrorCode::gap, after.source->name(),
                fmt::format("TXIDs {}-{} do not continue {}-{} of {}", to_string(next.min_txid),
                            to_string(next.max_txid), to_string(first.min_txid), to_string(first.max_txid),
                            before.source->name()));
}

Status Merge::begin_output() {
  const Header& first = inputs_.front()->decoder.header();
  const Header& last = inputs_.back()->decoder.header();
  Header header;
  header.no_checksum = !options_.keep_checksums;
  header.page_size = first.page_size;
  header.commit = last.commit;
  header.min_txid = first.min_txid;
  header.max_txid = last.max_txid;
  header.timestamp = last.timestamp;
  if (options_.keep_checksums) header.pre_apply = first.pre_apply;
  commit_ = header.commit;
  return encoder_.begin(header, output_);
}

Status Merge::advance(std::size_t input) {
  const auto page = inputs_[input]->decoder.next_page();
  if (!page) return std::unexpected(page.error());
  if (!*page) return {};
  inputs_[input]->page = **page;
  heap_.push_back({(*page)->number, input});
  std::push_heap(heap_.begin(), heap_.end());
  return {};
}

HeapEntry Merge::pop() {
  std::pop_heap(heap_.begin(), heap_.end());
  const HeapEntry top = heap_.back();
  heap_.pop_back();
  return top;
}

Status Merge::take_page() {
  const HeapEntry latest = pop();
  if (latest.number.value() <= commit_) {
    const Page& page = inputs_[latest.input]->page;
    if (auto added = blame_inputs(encoder_.add_page(page.number, page.bytes)); !added) return added;
  }
  if (auto advanced = advance(latest.input); !advanced) return advanced;
  while (!heap_.empty() && heap_.front().number == latest.number) {
    if (auto advanced = advance(pop().input); !advanced) return advanced;
  }
  return {};
}

Result<FileInfo> Merge::run(const Context& context) {
  constexpr std::uint64_t pages_between_checks = 256;
  for (std::uint64_t taken = 0; !heap_.empty(); ++taken) {
    if (taken % pages_between_checks == 0) {
      if (auto status = context.status("compact LTX files"); !status) return std::unexpected(status.error());
    }
    if (auto status = take_page(); !status) return std::unexpected(status.error());
  }
  std::optional<Checksum> post_apply;
  if (options_.keep_checksums) post_apply = inputs_.back()->decoder.info().trailer.post_apply;
  auto info = encoder_.finish(post_apply);
  if (info) return info;
  return std::unexpected(blame_inputs(std::unexpected(info.error())).error());
}

}  // namespace

Result<FileInfo> compact(std::span<Source* const> inputs, Sink& output, const CompactionOptions& options,
                         const Context& context) {
  Merge merge(output, options);
  if (auto opened = merge.open(inputs); !opened) return std::unexpected(opened.error());
  return merge.run(context);
}

}  // namespace litecluster::ltx
