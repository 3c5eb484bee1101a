// Failures of the client library and of the JetStream API as Errors that say what to do.
#pragma once

#include <string>
#include <string_view>

#include <litecluster/error.hpp>

namespace litecluster::nats {

/// From a natsStatus (passed as int, so that this header does not need the library's). Uses the library's
/// text of the last error of this thread when there is one.
[[nodiscard]] Error native_error(int status, std::string operation, std::string subject);

/// From the "error" object of a JetStream API answer. `err_code` is the number such as 10071, `code` the one
/// like HTTP's. The number is kept in the text: "... (JetStream error 10071)".
[[nodiscard]] Error jetstream_error(int code, int err_code, std::string_view description,
                                    std::string operation, std::string subject);

/// Nobody answers on a JetStream subject (status 503).
[[nodiscard]] Error no_responders_error(std::string operation, std::string subject);

}  // namespace litecluster::nats
