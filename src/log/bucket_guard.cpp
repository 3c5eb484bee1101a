#include "log/bucket_guard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace litecluster::log {
namespace {

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string to_string(const BucketState& state) {
  return fmt::format("{} {}", state.created_ns, state.last_sequence);
}

std::optional<BucketState> parse_bucket_state(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  const auto space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto created = parse_number<std::int64_t>(text.substr(0, space));
  const auto last = parse_number<std::uint64_t>(text.substr(space + 1));
  if (!created || !last) return std::nullopt;
  return BucketState{*created, *last};
}

BucketVerdict BucketGuard::observe(std::optional<BucketState> now) {
  const bool alarmed = verdict_ != BucketVerdict::fine && verdict_ != BucketVerdict::absent;
  if (alarmed) return verdict_;
  if (!now) {
    verdict_ = remembered_ ? BucketVerdict::vanished : BucketVerdict::absent;
  } else if (remembered_ && now->created_ns != remembered_->created_ns) {
    verdict_ = BucketVerdict::recreated;
  } else if (remembered_ && now->last_sequence < remembered_->last_sequence) {
    verdict_ = BucketVerdict::went_back;
  } else {
    accept(*now);
  }
  return verdict_;
}

void BucketGuard::advance(std::uint64_t sequence) {
  if (remembered_) remembered_->last_sequence = std::max(remembered_->last_sequence, sequence);
}

void BucketGuard::accept(BucketState now) {
  remembered_ = now;
  verdict_ = BucketVerdict::fine;
}

Status BucketGuard::status(std::string_view bucket) const {
  std::string reason;
  switch (verdict_) {
    case BucketVerdict::fine: return {};
    case BucketVerdict::absent:
      return failure(ErrorCode::not_found, "check bucket", std::string(bucket), "it does not exist yet");
    case BucketVerdict::vanished: reason = "it existed and is gone"; break;
    case BucketVerdict::recreated:
      reason =
          "it is not the bucket that this node knew: it was deleted and created again by somebody, or this "
          "database belongs to another cluster or bucket";
      break;
    case BucketVerdict::went_back: reason = "its end is lost: the server's sequence went back"; break;
  }
  return failure(
      ErrorCode::failed_precondition, "check bucket", std::string(bucket),
      reason +
          "; history may be missing, nothing was touched: restore the stream, or begin a new log as "
          "the operations guide says (The bucket is gone)");
}

}  // namespace litecluster::log
