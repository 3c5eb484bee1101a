#include "ltx/database_builder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "ltx/checksum.hpp"
#include "ltx/database_file.hpp"

namespace litecluster::ltx {
namespace {

constexpr std::size_t run_size_max = 256 * 1024;
constexpr std::uint64_t pages_between_checks = 256;
// Pages of which the checksum is kept in memory, while it is tracked: 32 MiB.
constexpr std::size_t known_max = std::size_t{4} << 20U;
// The flag alone: for a page to have it, its 63 other bits would have to be zero, and it is read again then.
constexpr Checksum unknown{};
constexpr std::size_t copy_size = 1024 * 1024;

std::unexpected<Error> refuse(ErrorCode code, std::string_view subject, std::string reason) {
  return failure(code, "apply LTX file", std::string(subject), std::move(reason));
}

Status copy_content(const std::filesystem::path& from, base::AtomicFile& to) {
  const auto source = base::open_file(from, O_RDONLY);
  if (!source) return std::unexpected(source.error());
  if (::ioctl(to.descriptor(), FICLONE, source->get()) == 0) return {};
  base::Bytes buffer(copy_size);
  for (std::uint64_t offset = 0;;) {
    const auto count = base::read_at(source->get(), buffer, offset, from);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) return {};
    if (auto written = to.write_at(base::ByteView(buffer).first(*count), offset); !written) return written;
    offset += *count;
  }
}

/// The new file gets mode and, where we may, owner of the one that it replaces.
Result<base::AtomicFile> create_like(const std::filesystem::path& target) {
  struct stat status{};
  if (::stat(target.c_str(), &status) != 0) return base::AtomicFile::create(target);
  auto file = base::AtomicFile::create(target, status.st_mode & 0777U);
  if (!file) return file;
  const bool own = ::fchown(file->descriptor(), status.st_uid, status.st_gid) == 0;
  if (!own && errno != EPERM)
    return std::unexpected(base::errno_error(errno, "change owner of", target.string()));
  if (::fchmod(file->descriptor(), status.st_mode & 07777U) != 0) {
    return std::unexpected(base::errno_error(errno, "change mode of", target.string()));
  }
  return file;
}

}  // namespace

DatabaseBuilder::DatabaseBuilder(std::filesystem::path target, base::AtomicFile file,
                                 const BuilderOptions& options)
    : target_(std::move(target)), file_(std::move(file)), options_(options) {}

Result<DatabaseBuilder> DatabaseBuilder::create(const std::filesystem::path& target,
                                                const BuilderOptions& options) {
  if (auto settled = require_no_pending_changes(target); !settled) return std::unexpected(settled.error());
  auto file = create_like(target);
  if (!file) return std::unexpected(file.error());
  DatabaseBuilder builder(target, std::move(*file), options);
  builder.rolling_ = Checksum();
  return builder;
}

Result<DatabaseBuilder> DatabaseBuilder::update(const std::filesystem::path& target,
                                                const BuilderOptions& options) {
  const auto database = DatabaseFile::open(target);
  if (!database) return std::unexpected(database.error());
  auto file = create_like(target);
  if (!file) return std::unexpected(file.error());
  if (auto copied = copy_content(target, *file); !copied) return std::unexpected(copied.error());
  DatabaseBuilder builder(target, std::move(*file), options);
  builder.page_size_ = database->page_size();
  builder.page_count_ = database->page_count();
  if (options.track_checksum) {
    const auto checksum = builder.checksum();
    if (!checksum) return std::unexpected(checksum.error());
  }
  return builder;
}

Result<FileInfo> DatabaseBuilder::apply(Source& file, const Context& context) {
  if (failure_) return std::unexpected(*failure_);
  auto info = apply_file(file, context);
  if (!info) failure_ = info.error();
  return info;
}

Result<FileInfo> DatabaseBuilder::apply_file(Source& file, const Context& context) {
  Decoder decoder(file);
  const auto header = decoder.read_header();
  if (!header) return std::unexpected(header.error());
  if (auto follows = check_follows(*header, file.name()); !follows) return std::unexpected(follows.error());
  page_size_ = header->page_size;
  // What the checksum covers before this file: a snapshot starts from nothing, whatever was there.
  if (auto matches = check_checksum(header->pre_apply, "pre-apply", file.name(), context); !matches) {
    return std::unexpected(matches.error());
  }
  if (header->no_checksum && !options_.track_checksum) forget_checksum();
  if (auto written = write_pages(decoder, context); !written) return std::unexpected(written.error());
  txid_ = header->max_txid;
  const auto post_apply = decoder.info().trailer.post_apply;
  if (auto matches = check_checksum(post_apply, "post-apply", file.name(), context); !matches) {
    return std::unexpected(matches.error());
  }
  return decoder.info();
}

Status DatabaseBuilder::check_follows(const Header& header, std::string_view name) const {
  if (page_size_ != 0 && header.page_size != page_size_) {
    return refuse(ErrorCode::invalid_argument, name,
                  fmt::format("page size is {}, that of the database {}", header.page_size, page_size_));
  }
  if (!txid_) return {};
  const bool contiguous = header.min_txid.previous() <= *txid_;
  if (contiguous && header.max_txid > *txid_) return {};
  return refuse(ErrorCode::gap, name,
                fmt::format("TXIDs {}-{} do not continue {}", to_string(header.min_txid),
                            to_string(header.max_txid), to_string(*txid_)));
}

Status DatabaseBuilder::check_checksum(std::optional<Checksum> expected, std::string_view which,
                                       std::string_view name, const Context& context) {
  if (!expected) return {};
  const auto actual = checksum(context);
  if (!actual) return std::unexpected(actual.error());
  if (*actual == *expected) return {};
  return refuse(ErrorCode::corrupt, name,
                fmt::format("{} checksum mismatch: the file says {}, the database has {}", which,
                            to_string(*expected), to_string(*actual)));
}

Status DatabaseBuilder::write_pages(Decoder& decoder, const Context& context) {
  const Header& header = decoder.header();
  const std::uint32_t before = page_count_;
  std::uint64_t new_pages = 0;
  for (std::uint64_t count = 0;; ++count) {
    if (count % pages_between_checks == 0) {
      if (auto status = context.status("apply LTX file"); !status) return status;
    }
    const auto page = decoder.next_page();
    if (!page) return std::unexpected(page.error());
    if (!*page) break;
    if ((*page)->number.value() > before) ++new_pages;
    if (auto tracked = track_page(**page); !tracked) return tracked;
    if (auto added = add_to_run(**page); !added) return added;
  }
  if (auto flushed = flush_run(); !flushed) return flushed;
  const std::uint32_t skipped = lock_page(page_size_).value();
  const std::uint64_t grown = header.commit > before ? header.commit - before : 0;
  const bool over_lock_page = before < skipped && skipped <= header.commit;
  if (new_pages < grown - (over_lock_page ? 1 : 0)) {
    if (before == 0) {
      return refuse(ErrorCode::gap, target_.string(),
                    fmt::format("TXIDs {}-{} do not hold every page of the database; start from a snapshot",
                                to_string(header.min_txid), to_string(header.max_txid)));
    }
    forget_checksum();  // pages that are in no file read as zeros, which was not counted
  }
  return set_page_count(header.commit);
}

Status DatabaseBuilder::track_page(const Page& page) {
  if (!rolling_) return {};
  if (page.number.value() <= page_count_) {
    const auto old = stored_checksum(page.number);
    if (!old) return std::unexpected(old.error());
    rolling_ = rolling_->toggled(*old);
  }
  const Checksum checksum = page_checksum(page.number, page.bytes);
  rolling_ = rolling_->toggled(checksum);
  remember_checksum(page.number, checksum);
  return {};
}

void DatabaseBuilder::forget_checksum() {
  rolling_.reset();
  known_.clear();
}

void DatabaseBuilder::remember_checksum(PageNo number, Checksum checksum) {
  const std::size_t index = number.value() - 1;
  if (index >= known_max) return;
  if (index >= known_.size()) known_.resize(std::max<std::size_t>(index + 1, page_count_), unknown);
  known_[index] = checksum;
}

Status DatabaseBuilder::add_to_run(const Page& page) {
  const auto pages = static_cast<std::uint32_t>(run_.size() / page_size_);
  const bool follows = pages > 0 && page.number.value() == run_start_.value() + pages;
  if (!follows || run_.size() + page.bytes.size() > run_size_max) {
    if (auto flushed = flush_run(); !flushed) return flushed;
    run_start_ = page.number;
  }
  base::append_bytes(run_, page.bytes);
  return {};
}

Status DatabaseBuilder::flush_run() {
  if (run_.empty()) return {};
  const auto written = file_.write_at(run_, std::uint64_t{run_start_.value() - 1} * page_size_);
  run_.clear();
  return written;
}

Status DatabaseBuilder::set_page_count(std::uint32_t commit) {
  const std::uint32_t skipped = lock_page(page_size_).value();
  for (std::uint32_t number = commit + 1; rolling_ && number <= page_count_; ++number) {
    if (number == skipped) continue;
    const auto gone = stored_checksum(PageNo(number));
    if (!gone) return std::unexpected(gone.error());
    rolling_ = rolling_->toggled(*gone);
  }
  if (known_.size() > commit) known_.resize(commit);
  const std::uint64_t size = std::uint64_t{commit} * page_size_;
  if (::ftruncate(file_.descriptor(), static_cast<off_t>(size)) != 0) {
    return std::unexpected(base::errno_error(errno, "set size of", temporary_path().string()));
  }
  page_count_ = commit;
  return {};
}

Result<Checksum> DatabaseBuilder::stored_checksum(PageNo number) {
  const std::size_t index = number.value() - 1;
  if (index < known_.size() && known_[index] != unknown) return known_[index];
  old_page_.resize(page_size_);
  const std::uint64_t offset = std::uint64_t{number.value() - 1} * page_size_;
  const auto count = base::read_at(file_.descriptor(), old_page_, offset, temporary_path());
  if (!count) return std::unexpected(count.error());
  if (*count == old_page_.size()) return page_checksum(number, old_page_);
  return refuse(ErrorCode::io, temporary_path().string(),
                fmt::format("page {} cannot be read", number.value()));
}

Result<Checksum> DatabaseBuilder::checksum(const Context& context) {
  if (failure_) return std::unexpected(*failure_);
  if (rolling_) return *rolling_;
  Checksum sum;
  for (std::uint32_t number = 1; number <= page_count_; ++number) {
    if (number % pages_between_checks == 0) {
      if (auto status = context.status("read database"); !status) return std::unexpected(status.error());
    }
    if (PageNo(number) == lock_page(page_size_)) continue;
    const auto page = stored_checksum(PageNo(number));
    if (!page) return std::unexpected(page.error());
    sum = sum.toggled(*page);
  }
  rolling_ = sum;
  return sum;
}

Status DatabaseBuilder::commit(Existing existing) {
  if (failure_) return std::unexpected(*failure_);
  if (!txid_) return refuse(ErrorCode::failed_precondition, target_.string(), "no file was applied");
  // Building takes long: somebody may have begun to use the target meanwhile.
  if (auto settled = require_no_pending_changes(target_); !settled) return settled;
  if (existing == Existing::replace) return file_.commit();
  auto committed = file_.commit_new();
  if (committed || committed.error().code() != ErrorCode::already_exists) return committed;
  // One who opened it and wrote nothing yet loses nothing.
  std::error_code error;
  if (std::filesystem::file_size(target_, error) == 0 && !error) return file_.commit();
  return committed;
}

}  // namespace litecluster::ltx
