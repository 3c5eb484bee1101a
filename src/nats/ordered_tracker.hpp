// What an ordered consumer decides, without I/O: is this message the next one, and where to begin again. Also
// the parsing of what the server writes into subjects.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "nats/ordered_consumer.hpp"

namespace litecluster::nats {

/// What the reply subject of a delivered message says.
struct DeliveryPosition {
  std::uint64_t stream_sequence = 0;
  std::uint64_t consumer_sequence = 0;
  ServerTime time{};
  std::uint64_t pending = 0;
};
/// `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, or the newer form
/// with domain and account hash before the stream and a token at the end.
[[nodiscard]] std::optional<DeliveryPosition> parse_delivery_position(std::string_view reply);

/// What a STREAM.INFO says about the history that is being read.
enum class History {
  same,
  shorter,    ///< messages that were seen are gone from its end
  another,    ///< the stream was made anew
  rewritten,  ///< the last message that was read is not what it was; check() does not tell this
};

/// Not thread-safe.
class OrderedTracker {
 public:
  explicit OrderedTracker(Start start) : start_(start) {}

  /// A consumer is about to be made on this state of the stream.
  [[nodiscard]] History check(const StreamInfo& info);
  /// Whether what is now at last_sequence(), stored at this time, is another message than the one accepted:
  /// servers lost it and used its number again. Nothing there (nullopt) says nothing: it may have been
  /// deleted.
  [[nodiscard]] bool was_rewritten(std::optional<ServerTime> time) const {
    return last_sequence_ > 0 && time && *time != last_time_;
  }
  /// It was made: its sequence starts at 1.
  void consumer_made();

  /// Whether the message is the next one of this consumer. No: a hole.
  [[nodiscard]] bool follows(const DeliveryPosition& position) const;
  /// As above; if so, the position is remembered.
  [[nodiscard]] bool accept(const DeliveryPosition& position);
  /// True when nothing is missing before a heartbeat that names this as the last consumer sequence.
  [[nodiscard]] bool heartbeat(std::uint64_t last_consumer_sequence) const {
    return last_consumer_sequence == consumer_sequence_;
  }

  /// The first sequence below this one at which a message can be that had to be delivered by now and was not;
  /// nullopt when there is none, or when `sequence` was there when the consumer was made: what moves it comes
  /// later.
  [[nodiscard]] std::optional<std::uint64_t> unread_before(std::uint64_t sequence) const;
  /// It was found that there is no such message below this sequence.
  void nothing_before(std::uint64_t sequence) { complete_to_ = std::max(complete_to_, sequence - 1); }

  /// Where a new consumer has to begin.
  [[nodiscard]] Start resume() const;
  [[nodiscard]] std::uint64_t last_sequence() const { return last_sequence_; }

 private:
  Start start_;
  std::uint64_t last_sequence_ = 0;      ///< of the stream, accepted
  ServerTime last_time_{};               ///< when that message was stored
  std::uint64_t highest_seen_ = 0;       ///< end of the stream as far as known
  std::uint64_t complete_to_ = 0;        ///< what is delivered of the stream up to here is all that matters
  std::uint64_t end_when_made_ = 0;      ///< of the stream, when the current consumer was made
  std::uint64_t consumer_sequence_ = 0;  ///< of the current consumer, accepted
  std::optional<ServerTime> created_;
};

/// Body of the CONSUMER.CREATE request.
[[nodiscard]] std::string consumer_create_json(const OrderedConsumerOptions& options, const Start& start,
                                               std::string_view deliver_subject);

}  // namespace litecluster::nats
