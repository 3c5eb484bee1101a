#include "log/fence_protocol.hpp"

#include <fmt/format.h>

#include <utility>

namespace litecluster::log {
namespace {

constexpr const char* operation = "fence the log";

}  // namespace

FenceProtocol::FenceProtocol(Author author, const LogView& view)
    : author_(std::move(author)), action_(Apply{view.end().txid}) {
  const bool is_ours = view.end().author == author_;
  if (view.highest_epoch() > author_.epoch || (view.highest_epoch() == author_.epoch && !is_ours)) {
    fail_deposed(fmt::format("the log already holds objects of epoch {}", view.highest_epoch().value()));
  }
}

void FenceProtocol::applied(const LogEnd& end) {
  const auto* apply = std::get_if<Apply>(&action_);
  if (apply == nullptr || end.txid < apply->txid) return;
  taken_ = false;
  if (end.author == author_) {
    // We have been here before: the fence of this very author stands.
    action_ = Done{end.txid};
  } else if (end.author && end.author->epoch >= author_.epoch) {
    fail_deposed(fmt::format("TXID {} was written by {}", to_string(end.txid), to_string(*end.author)));
  } else {
    action_ = Append{end.txid.next()};
  }
}

void FenceProtocol::appended() {
  if (const auto* append = std::get_if<Append>(&action_)) action_ = Done{append->txid};
}

void FenceProtocol::taken(const Object& by) {
  const auto* append = std::get_if<Append>(&action_);
  if (append == nullptr) return;
  const Txid txid = append->txid;
  const bool is_ours = by.author == author_;
  if (!is_ours && by.author && by.author->epoch >= author_.epoch) {
    fail_deposed(fmt::format("TXID {} was written by {}", to_string(txid), to_string(*by.author)));
  } else if (!is_ours && ++rounds_ == rounds_max) {
    action_ =
        Error(ErrorCode::unavailable, operation, fmt::format("epoch {}", author_.epoch.value()),
              fmt::format("somebody without this epoch appends faster than we can follow, now at TXID {}",
                          to_string(txid)));
  } else {
    action_ = Apply{txid};
    taken_ = true;
  }
}

void FenceProtocol::removed() {
  const auto* apply = std::get_if<Apply>(&action_);
  if (apply != nullptr && std::exchange(taken_, false)) action_ = Append{apply->txid};
}

void FenceProtocol::fail_deposed(const std::string& reason) {
  action_ = Error(ErrorCode::deposed, operation, fmt::format("epoch {}", author_.epoch.value()), reason);
}

}  // namespace litecluster::log
