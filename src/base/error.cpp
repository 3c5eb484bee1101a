#include <litecluster/error.hpp>

namespace litecluster {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::deadline_exceeded: return "deadline_exceeded";
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::already_exists: return "already_exists";
    case ErrorCode::conflict: return "conflict";
    case ErrorCode::deposed: return "deposed";
    case ErrorCode::not_leader: return "not_leader";
    case ErrorCode::corrupt: return "corrupt";
    case ErrorCode::gap: return "gap";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::permission_denied: return "permission_denied";
    case ErrorCode::unavailable: return "unavailable";
    case ErrorCode::resource_exhausted: return "resource_exhausted";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::busy: return "busy";
    case ErrorCode::failed_precondition: return "failed_precondition";
    case ErrorCode::io: return "io";
    case ErrorCode::internal: return "internal";
  }
  return "unknown";
}

std::string Error::message() const {
  std::string text = operation_;
  if (!subject_.empty()) {
    if (!text.empty()) text += ' ';
    text += subject_;
  }
  if (!reason_.empty()) {
    if (!text.empty()) text += ": ";
    text += reason_;
  }
  return text;
}

Error Error::within(std::string operation, std::string subject) const {
  return {code_, std::move(operation), std::move(subject), message()};
}

}  // namespace litecluster
