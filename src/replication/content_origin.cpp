#include "replication/content_origin.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/logging.hpp"
#include "db/page_view.hpp"
#include "log/object_stream.hpp"
#include "log/restore.hpp"
#include "log/restore_plan.hpp"
#include "ltx/checksum.hpp"
#include "ltx/decoder.hpp"

namespace litecluster::replication {
namespace {

constexpr std::chrono::milliseconds busy_timeout{2000};

// The pages of a database, and which of them were met elsewhere.
class PagesMet {
 public:
  [[nodiscard]] static Result<PagesMet> of(const Context& context, const std::filesystem::path& database) {
    const auto view = db::PageView::open(database, busy_timeout);
    if (!view) return std::unexpected(view.error());
    PagesMet pages;
    pages.page_size_ = (*view)->page_size();
    pages.sums_.resize((*view)->page_count());
    pages.met_.resize(pages.sums_.size());
    const auto read = (*view)->for_each_page(context, [&pages](const ltx::Page& page) -> Status {
      pages.sums_[page.number.value() - 1] = ltx::page_checksum(page.number, page.bytes).value();
      return {};
    });
    if (!read) return std::unexpected(read.error());
    return pages;
  }

  void meet(const ltx::Page& page) {
    const std::size_t index = page.number.value() - 1;
    if (index >= sums_.size() || met_[index] || page.bytes.size() != page_size_) return;
    if (ltx::page_checksum(page.number, page.bytes).value() != sums_[index]) return;
    met_[index] = true;
    ++met_count_;
  }
  [[nodiscard]] bool are_a_quarter_of(std::uint64_t pages) const { return met_count_ * 4 >= pages; }
  [[nodiscard]] std::uint64_t count() const { return sums_.size(); }

 private:
  std::uint32_t page_size_ = 0;
  std::vector<std::uint64_t> sums_;
  std::vector<bool> met_;
  std::uint64_t met_count_ = 0;
};

// To its end, where `commit` is told, or until it is `sure` that enough pages were met.
Status read_object(const Context& context, ltx::Source& source, PagesMet& pages, std::uint32_t& commit,
                   bool& sure) {
  ltx::Decoder decoder(source);
  while (true) {
    if (auto going = context.status("compare with the log"); !going) return going;
    const auto page = decoder.next_page();
    if (!page) return std::unexpected(page.error());
    if (!*page) break;
    pages.meet(**page);
    sure = pages.are_a_quarter_of(pages.count());
    if (sure) return {};
  }
  commit = decoder.header().commit;
  return {};
}

}  // namespace

Result<bool> comes_from_log(const Context& context, const std::filesystem::path& database,
                            log::ObjectBucket& bucket) {
  const auto view = log::read_log(context, bucket);
  if (!view) return std::unexpected(view.error());
  if (view->end().txid.is_zero() || !view->end().author) return true;
  const auto plan = log::plan_restore(*view, {});
  if (!plan) return true;
  auto pages = PagesMet::of(context, database);
  if (!pages) return std::unexpected(pages.error());
  log::ObjectStream stream(context, bucket, plan->objects);
  std::uint32_t commit = 0;
  bool sure = false;
  while (ltx::Source* source = stream.next()) {
    auto read = read_object(context, *source, *pages, commit, sure);
    if (read && sure) return true;
    if (read) read = stream.finish();
    if (read) continue;
    if (read.error().code() == ErrorCode::corrupt) {
      base::log_warning("cannot tell whether the database comes from the log",
                        {{"reason", read.error().message()}});
      return true;
    }
    const bool vanished = read.error().code() == ErrorCode::not_found;
    return vanished ? failure(ErrorCode::unavailable, "compare with the log", bucket.name(),
                              "an object vanished meanwhile: " + read.error().subject())
                    : std::unexpected(read.error());
  }
  return pages->are_a_quarter_of(std::min<std::uint64_t>(pages->count(), commit));
}

}  // namespace litecluster::replication
