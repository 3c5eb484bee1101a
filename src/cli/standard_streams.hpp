// The three standard streams of the program: what it was started without, and what it could not write.
#pragma once

namespace litecluster::cli {

/// Opens /dev/null in place of each standard descriptor that is closed. To be called before anything else is
/// opened: otherwise a database, its position file or the connection to NATS takes the number, and a line of
/// the log that is meant for standard error is written into it. False when that is not possible.
[[nodiscard]] bool open_standard_descriptors();

/// Writes out what standard output still buffers. False, after a line on standard error, when anything
/// printed so far was lost (a full disk, a reader that went away): the command may not say that all is well
/// then.
[[nodiscard]] bool finish_standard_output();

}  // namespace litecluster::cli
