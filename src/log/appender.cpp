#include "log/appender.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/logging.hpp"
#include "log/restore.hpp"
#include "ltx/header.hpp"

namespace litecluster::log {
namespace {

constexpr const char* operation = "append to the log";
constexpr int attempts_max = 3;
/// How long the end of the log may take to be read. Servers that lost the object meanwhile will never show
/// it.
constexpr std::chrono::seconds proof_patience{10};

}  // namespace

ReadEnd read_end_by_listing(ObjectBucket& bucket) {
  return [&bucket](const Context& context, Revision) -> Result<LogEnd> {
    const auto view = read_log(context, bucket);
    if (!view) return std::unexpected(view.error());
    return view->end();
  };
}

Appender::Appender(ObjectBucket& bucket, Author author, ReadEnd read_end)
    : bucket_(bucket), author_(std::move(author)), read_end_(std::move(read_end)) {}

void Appender::start(const LogEnd& end) {
  started_ = true;
  end_ = end.txid;
  end_file_ = end.file_checksum;
  fenced_ = end.author == author_;
  sequence_ = Revision();
  unresolved_.reset();
}

Result<Object> Appender::append(const Context& context, const NewFile& file) {
  auto outcome = try_append(context, file);
  if (!outcome) return std::unexpected(outcome.error());
  if (const auto* taken = std::get_if<Taken>(&*outcome)) {
    return std::unexpected(depose(taken->by.name, taken->by.author));
  }
  return std::get<Object>(std::move(*outcome));
}

Result<Appender::Outcome> Appender::append_fence(const Context& context, const NewFile& file) {
  auto outcome = try_append(context, file);
  if (!outcome) return outcome;
  if (const auto* taken = std::get_if<Taken>(&*outcome)) {
    unresolved_.reset();
    const auto& by = taken->by.author;
    // By ourselves: an attempt of before, with other bytes. It is in the log, and so it counts.
    if (by && by->epoch >= author_.epoch && by != author_) {
      return std::unexpected(depose(taken->by.name, taken->by.author));
    }
  }
  return outcome;
}

Result<NewObject> Appender::describe(const NewFile& file) const {
  const ObjectName name = ObjectName::raw(end_.next());
  std::array<std::byte, ltx::header_size> head{};
  const auto count = file.payload.read(0, head);
  if (!count) return std::unexpected(count.error());
  const auto header = ltx::parse_header(base::ByteView(head).first(*count), to_string(name));
  if (!header) {
    return failure(ErrorCode::invalid_argument, operation, to_string(name), header.error().reason());
  }
  if (header->min_txid != name.min || header->max_txid != name.max) {
    return failure(ErrorCode::invalid_argument, operation, to_string(name),
                   fmt::format("the file holds TXIDs {} to {}", to_string(header->min_txid),
                               to_string(header->max_txid)));
  }
  const auto file_checksum = file.payload.file_checksum();
  if (!file_checksum) return std::unexpected(file_checksum.error().within(operation, to_string(name)));
  return NewObject{.name = name,
                   .created_at = header->timestamp,
                   .author = author_,
                   .checksum = file.checksum,
                   .pre_apply = file.pre_apply,
                   .previous_file = file.pre_apply ? end_file_ : std::nullopt,
                   .file_checksum = *file_checksum};
}

Result<Appender::Outcome> Appender::try_append(const Context& context, const NewFile& file) {
  const Payload& payload = file.payload;
  if (ended_) return std::unexpected(*ended_);
  if (!started_) {
    return failure(ErrorCode::failed_precondition, operation, bucket_.name(), "its end was not read yet");
  }
  const auto object = describe(file);
  if (!object) return std::unexpected(object.error());
  if (unresolved_) {
    const auto digest = payload.digest();
    if (!digest) return std::unexpected(digest.error());
    if (*unresolved_ != *digest) {
      return failure(ErrorCode::failed_precondition, operation, to_string(object->name),
                     "an earlier attempt with other bytes may still be stored; it has to be repeated first");
    }
  }
  auto outcome = put(context, *object, payload);
  if (outcome) return outcome;
  if (auto noted = note_unresolved(payload); !noted) return std::unexpected(noted.error());
  return outcome;
}

/// What was sent without being known to be stored, or not. What goes well at once is not hashed a second
/// time.
Status Appender::note_unresolved(const Payload& payload) {
  if (unresolved_) return {};
  const auto digest = payload.digest();
  if (!digest) return std::unexpected(digest.error());
  unresolved_ = *digest;
  return {};
}

Result<Appender::Outcome> Appender::put(const Context& context, const NewObject& object,
                                        const Payload& payload) {
  for (int attempt = 1; attempt <= attempts_max; ++attempt) {
    auto stored = payload.put(context, bucket_, object);
    if (stored) return settle(context, std::move(*stored));
    if (stored.error().code() != ErrorCode::already_exists) {
      return std::unexpected(stored.error().within(operation, to_string(object.name)));
    }
    auto taken = find_taken(context, object.name);
    if (!taken) {
      // Removed between the put and the look: try again.
      if (taken.error().code() == ErrorCode::not_found) continue;
      return std::unexpected(taken.error());
    }
    if (auto noted = note_unresolved(payload); !noted) return std::unexpected(noted.error());
    if (is_ours(*taken, *unresolved_)) return settle(context, std::move(*taken));
    const auto stale = is_stale(context, *taken);
    if (!stale) return std::unexpected(stale.error());
    if (!*stale) return Taken{std::move(*taken)};
    base::log_warning("removing a stale object from the log",
                      {{"object", to_string(taken->name)}, {"author", to_string(*taken->author)}});
    if (auto removed = bucket_.remove(context, *taken); !removed) return std::unexpected(removed.error());
  }
  return failure(ErrorCode::unavailable, operation, to_string(object.name),
                 "its name is taken, but nothing is to be found under it");
}

/// What stands under a name that the server says is taken.
Result<Object> Appender::find_taken(const Context& context, const ObjectName& name) {
  auto found = bucket_.newest_info(context, name);
  if (found || found.error().code() != ErrorCode::not_found) return found;
  // A tombstone: somebody wrote this TXID, and it was removed again. Who writes now?
  const auto end = read_end_(context, Revision());
  if (!end) return std::unexpected(end.error());
  if (end->txid >= name.max && end->author != author_) return std::unexpected(depose(name, end->author));
  return found;
}

bool Appender::is_ours(const Object& object, const base::Sha256Digest& digest) const {
  return object.author == author_ && object.digest == digest;
}

/// Whether readers ignore what stands under our next name (epoch rule).
Result<bool> Appender::is_stale(const Context& context, const Object& object) {
  if (!fenced_ || !object.author || object.author->epoch >= author_.epoch) return false;
  // A view that remembers a fence that servers have lost takes for stale what is history to everybody else.
  if (auto stands = check_last(context, Last::is_newest); !stands) return std::unexpected(stands.error());
  const auto end = read_end_(context.with_timeout(proof_patience), std::max(object.sequence, sequence_));
  if (!end) return std::unexpected(end.error().within(operation, to_string(object.name)));
  if (end->txid == end_) return true;
  if (end->txid >= object.name.max) return false;
  return failure(ErrorCode::unavailable, operation, to_string(object.name),
                 "its name is taken, and the servers do not show yet by what");
}

/// That our last object stands, or that nobody else's stands there: retention never removes the newest raw
/// object, but it may have merged and removed ours once it had a follower.
Status Appender::check_last(const Context& context, Last last_is) {
  if (!fenced_) return {};
  const ObjectName name = ObjectName::raw(end_);
  const auto last = bucket_.newest_info(context, name);
  const bool missing = !last && last.error().code() == ErrorCode::not_found;
  if (missing && last_is == Last::has_follower) return {};
  if (missing) return std::unexpected(went_back(name, "our last object is not there any more"));
  if (!last) return std::unexpected(last.error().within(operation, to_string(name)));
  if (last->author == author_ && (sequence_.is_zero() || last->sequence == sequence_)) return {};
  if (!last->author || last->author->epoch > author_.epoch) {
    return std::unexpected(depose(name, last->author));
  }
  return std::unexpected(
      went_back(name, "where our last object was stands one by " + to_string(*last->author)));
}

Result<Appender::Outcome> Appender::settle(const Context& context, Object object) {
  const std::uint64_t sequence_min = sequence_.value() + object.chunks + 1;
  if (object.sequence.value() < sequence_min && !sequence_.is_zero()) {
    return std::unexpected(
        went_back(object.name, fmt::format("sequence {} came after {}; objects that were acknowledged before "
                                           "are missing",
                                           object.sequence.value(), sequence_.value())));
  }
  const bool follows_ours = !sequence_.is_zero() && object.sequence.value() == sequence_min;
  if (!follows_ours) {
    if (auto proven = prove(context, object); !proven) {
      // The object is left where it is: if the newer leader came after it, it is history.
      if (proven.error().code() == ErrorCode::deposed) ended_ = proven.error();
      return std::unexpected(proven.error());
    }
    if (auto stands = check_last(context, Last::has_follower); !stands)
      return std::unexpected(stands.error());
  }
  end_ = object.name.max;
  end_file_ = object.file_checksum;
  fenced_ = true;
  sequence_ = object.sequence;
  unresolved_.reset();
  return object;
}

Status Appender::prove(const Context& context, const Object& object) const {
  const auto end = read_end_(context.with_timeout(proof_patience), object.sequence);
  if (!end) return std::unexpected(end.error().within(operation, to_string(object.name)));
  if (end->txid == object.name.max && end->author == author_) return {};
  if (end->txid < object.name.max) {
    return failure(ErrorCode::unavailable, operation, to_string(object.name),
                   "the servers do not show it yet, so that its place in the log cannot be proven");
  }
  return failure(ErrorCode::deposed, operation, to_string(object.name),
                 fmt::format("the log went on without us while we did nothing, to TXID {}{}",
                             to_string(end->txid), end->author ? " by " + to_string(*end->author) : ""));
}

Error Appender::depose(const ObjectName& name, const std::optional<Author>& by) {
  ended_ = Error(ErrorCode::deposed, operation, to_string(name),
                 fmt::format("it was written by {}; we are {}",
                             by ? to_string(*by) : "Litestream, or another writer without an epoch",
                             to_string(author_)));
  return *ended_;
}

Error Appender::went_back(const ObjectName& name, const std::string& how) {
  ended_ = Error(ErrorCode::gap, operation, to_string(name), "the bucket has lost its end: " + how);
  return *ended_;
}

}  // namespace litecluster::log
