// The JSON of the JetStream API and the headers of stored messages, to and from our structs. All of it parses
// bytes from outside: nothing here throws or trusts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/error.hpp>

#include "nats/jetstream.hpp"

namespace litecluster::nats {

/// RFC 3339 with any number of digits after the second and `Z` or an offset.
[[nodiscard]] std::optional<ServerTime> parse_time(std::string_view text);
/// UTC with up to nine digits, trailing zeros left out: "2026-11-22T20:23:26.43Z".
[[nodiscard]] std::string format_time(ServerTime time);

/// Lines of "NATS/1.0\r\nName: value\r\n...\r\n\r\n"; lines that are none are left out.
[[nodiscard]] Headers parse_header_block(std::string_view block);

/// Nothing when the answer is no error; an Error when it is one or is no JSON.
[[nodiscard]] std::optional<Error> find_api_error(std::string_view json, std::string_view operation,
                                                  std::string_view subject);

/// What a stream answers to a publish: an acknowledgement, or the error that it or unreadable JSON is.
[[nodiscard]] Result<PublishAck> parse_publish_answer(std::string_view json, std::string_view operation,
                                                      std::string_view subject);

// The answer has been checked by find_api_error(). nullopt: not what the API answers.
[[nodiscard]] std::optional<StreamInfo> parse_stream_info(std::string_view json);
[[nodiscard]] std::optional<AccountInfo> parse_account_info(std::string_view json);
[[nodiscard]] std::optional<std::uint64_t> parse_purged(std::string_view json);
/// Answer to STREAM.MSG.GET.
[[nodiscard]] std::optional<StoredMessage> parse_stored_message(std::string_view json);

struct SubjectPage {
  std::vector<std::pair<std::string, std::uint64_t>> subjects;
  std::uint64_t total = 0;
};
/// The part of a STREAM.INFO answer that has messages per subject.
[[nodiscard]] std::optional<SubjectPage> parse_subject_page(std::string_view json);

struct ConsumerInfo {
  std::string name;
  std::uint64_t pending = 0;  ///< messages that it has for its reader, sent or not
  /// The answer has a time of its own, as those of servers from 2.10 on.
  bool is_recent = false;
};
[[nodiscard]] std::optional<ConsumerInfo> parse_consumer_info(std::string_view json);

[[nodiscard]] std::string stream_config_json(const StreamConfig& config);
/// The settings of `info_json` (an answer to STREAM.INFO) with those of `config` put over them, so that
/// settings that this program does not know stay as they are.
[[nodiscard]] std::optional<std::string> merge_stream_config(std::string_view info_json,
                                                             const StreamConfig& config);
[[nodiscard]] std::string purge_json(const PurgeOptions& options);

/// "text" with quotes and escapes. Invalid UTF-8 is replaced.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace litecluster::nats
