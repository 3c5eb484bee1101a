// The three standard streams of the program: what it was started without, and what it could not write.
#pragma once

#include <chrono>
#include <string_view>

namespace litecluster::cli {

/// Opens /dev/null in place of each standard descriptor that is closed. To be called before anything else is
/// opened: otherwise a database, its position file or the connection to NATS takes the number, and a line of
/// the log that is meant for standard error is written into it. False when that is not possible.
[[nodiscard]] bool open_standard_descriptors();

/// Prints. What cannot be written shows in the two below: unlike fmt::print() it throws nothing.
void print(std::string_view text);

/// Writes out what standard output buffers. False when that or an earlier print() failed: a command that
/// prints until it is stopped ends then, for nobody would ever get what it prints next. A broken pipe is no
/// signal to us: the NATS client ignores SIGPIPE for the whole process.
[[nodiscard]] bool flush_standard_output();

/// Waits until the other end of the pipe or terminal that is standard output has gone away; false when it has
/// not done so within the limit. For a thread beside one that prints seldom: a write would tell only with the
/// next line.
[[nodiscard]] bool standard_output_closes_within(std::chrono::milliseconds limit);

/// Writes out what standard output still buffers. False, after a line on standard error, when anything
/// printed so far was lost (a full disk, a reader that went away): the command may not say that all is well
/// then.
[[nodiscard]] bool finish_standard_output();

}  // namespace litecluster::cli
